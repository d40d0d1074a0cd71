package chaos

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// Taps and their bridge are changed under running VMs by somebody else, who may:
// what can be mended is mended in place, what can't costs one restart.
func TestLinksAreTakenAwayUnderTheirVMs(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	s.ip("link", "add", "br0", "type", "bridge")
	s.ip("link", "set", "dev", "br0", "up")
	s.ip("link", "set", "dev", "lo", "up")
	s.foreign = append(s.foreign, "br0")
	spec := s.PVH("wired")
	spec.Networks = []*v1.Network{{Mode: "bridge", Bridge: "br0"}}
	spec.Restart = node.Impatient(50)
	wired := s.up(spec)
	calm := s.crew("calm", 1)
	tap := s.port("br0", soon)

	s.step("the daemon killed", func(s *site) {
		s.must(s.Kill(s.ctx))
		s.undisturbed("the daemon killed", wired)
		s.port("br0", soon)
	})
	s.step("tap out of its bridge", func(s *site) {
		s.ip("link", "set", "dev", tap, "nomaster")
		s.port("br0", soon)
		s.undisturbed("what was mended", wired)
	})
	s.step("tap down", func(s *site) {
		s.ip("link", "set", "dev", tap, "down")
		s.eventually("the tap is up again", soon, func() bool { return strings.Contains(s.ip("-o", "link", "show", "dev", tap), ",UP") })
		s.undisturbed("what was mended", wired)
	})
	s.step("tap deleted", func(s *site) {
		began := time.Now()
		s.ip("link", "del", "dev", tap)
		wired = s.next(wired)
		s.t.Logf("up again with another tap after %v", time.Since(began))
		if cause := wired.GetLastExit().GetCause(); cause != "link-lost" {
			s.t.Errorf("want link-lost, got %s: %s", cause, wired.GetLastExit().GetEvidence())
		}
		tap = s.port("br0", soon)
	})
	s.step("bridge deleted, and made again", func(s *site) {
		s.ip("link", "del", "dev", "br0")
		s.undisturbed("without its bridge", calm...)
		s.ip("link", "add", "br0", "type", "bridge")
		s.ip("link", "set", "dev", "br0", "up")
		tap = s.port("br0", time.Minute)
		wired = s.healthy("wired", 0)
	})
	s.step("tap deleted while the daemon is down", func(s *site) {
		s.systemctl("stop", "blixard.service")
		s.ip("link", "del", "dev", tap)
		s.systemctl("start", "blixard.service")
		s.must(s.Ready(s.ctx))
		wired = s.next(wired)
		tap = s.port("br0", soon)
	})
	s.step("stopped: it holds no link (P7)", func(s *site) {
		_, err := s.StopOf(s.ctx, "wired", true)
		s.must(err)
		s.reaches("wired", "stopped", soon)
		if links, err := s.Links(s.ctx); err != nil || slices.Contains(links, tap) {
			s.t.Errorf("links of a stopped VM: %v, %v", links, err)
		}
	})
	s.step("a foreign tap in its place (P8)", func(s *site) {
		s.ip("tuntap", "add", "dev", tap, "mode", "tap")
		_, err := s.StartOf(s.ctx, "wired")
		s.must(err)
		s.event("a start that was refused", soon, func(e *v1.Event) bool { return e.GetVm() == "wired" && strings.Contains(e.GetWhy(), tap) })
		s.ip("link", "show", "dev", tap)
		s.ip("link", "del", "dev", tap)
	})
	s.undisturbed("all that", calm...)
}

// ip runs it inside and returns what it wrote.
func (s *site) ip(args ...string) string {
	s.t.Helper()
	out, err := s.Run(s.ctx, append([]string{"ip"}, args...)...)
	s.must(err)
	return out
}

// port waits until the bridge has one port, and returns its name.
func (s *site) port(bridge string, within time.Duration) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := s.Run(ctx, "ls", "/sys/class/net/"+bridge+"/brif")
		if ports := strings.Fields(out); err == nil && len(ports) == 1 {
			return ports[0]
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s has no port after %v, but %q (%v)", bridge, within, out, err)
		case <-tick.C:
		}
	}
}
