package fake

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Service is what a guest serves at one address of its own, from the moment
// that it answers on. A hung guest leaves every caller waiting.
type Service struct {
	Of     vm.Name
	Dead   bool          // nobody listens, whereas the guest lives
	Slow   time.Duration // until it answers
	Status int           // 0: 200
	Body   string
}

// Serve sets what answers at IP:PORT from now on; the zero Service: nothing.
func (w *World) Serve(address string, s Service) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.services == nil {
		w.services = map[string]Service{}
	}
	w.services[address] = s
}

type reach struct{ d *Daemon }

var _ host.Reach = reach{}

// Connect connects where a live guest serves.
func (r reach) Connect(ctx context.Context, address string) error {
	_, err := r.asked(ctx, "connect", address)
	return err
}

// Get answers as the service would.
func (r reach) Get(ctx context.Context, c vm.Check) (string, error) {
	const doing = "ask the web server"
	to, err := url.Parse(c.URL)
	if err != nil {
		return "", host.Fail(host.Broken, doing, err)
	}
	address := to.Host
	if to.Port() == "" {
		address += map[string]string{"http": ":80", "https": ":443"}[to.Scheme]
	}
	began := time.Now()
	s, err := r.asked(ctx, doing, address)
	if err != nil {
		return "", err
	}
	if s.Status == 0 {
		s.Status = 200
	}
	return host.Status(s.Status) + " in " + time.Since(began).String(), host.Answered(c, s.Status, []byte(s.Body))
}

var (
	errNoAnswer = errors.New("no answer in time")
	errRefused  = errors.New("connection refused")
)

// asked waits for the service at an address.
func (r reach) asked(ctx context.Context, doing, address string) (Service, error) {
	if err := r.d.call(ctx, "reach "+address, r.d.faults().Reach); err != nil {
		return Service{}, err
	}
	w := r.d.world
	w.mu.Lock()
	s := w.services[address]
	lives, up, hangs := false, false, false
	for _, p := range w.named[s.Of] {
		lives, hangs = true, p.silent || p.state != host.GuestRuns
		select {
		case <-p.answered:
			up = true
		default:
		}
	}
	w.mu.Unlock()
	switch {
	case !lives || hangs: // nobody is there to refuse
		<-ctx.Done()
		return Service{}, host.Fail(host.Transient, doing, errNoAnswer)
	case !up || s.Dead:
		return Service{}, host.Fail(host.Gone, doing, errRefused)
	}
	if err := wait(ctx, s.Slow); err != nil {
		return Service{}, host.Fail(host.Transient, doing, errNoAnswer)
	}
	return s, nil
}
