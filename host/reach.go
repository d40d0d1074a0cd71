package host

import (
	"context"
	"fmt"
	"net/http"
	"regexp"

	"github.com/blixard/blixard/vm"
)

// Reach asks a guest over the network, as one of its clients. Whoever answers
// is hostile: what is read of an answer is bounded, and ctx bounds the time.
//
// Gone says that nobody listens there, and Transient that the way, or the
// answer, isn't right: both are of the guest. Denied and Broken are of this
// machine, or of the spec, and prove nothing about a guest: there was no
// descriptor, port or route of our own, a rule of the host's firewall, or no such address.
type Reach interface {
	// Connect opens a TCP connection to IP:PORT and closes it. Repeating it is
	// safe: it says nothing.
	Connect(ctx context.Context, address string) error
	// Get asks for c.URL once and holds the answer against c.Status and c.Body.
	// seen is one short line, "200 OK in 3ms"; it is empty where nobody answered.
	// Repeating it is as safe as a GET is to the guest's server.
	Get(ctx context.Context, c vm.Check) (seen string, err error)
}

// MaxBody is how much of an answer's body is looked at.
const MaxBody = 64 << 10

// Answered holds an answer against what the check wants of it.
func Answered(c vm.Check, code int, body []byte) error {
	const doing = "look at the answer"
	low, high, ok := c.Statuses()
	if !ok {
		return Fail(Broken, doing, fmt.Errorf("%q is no range of statuses", c.Status))
	}
	if code < low || code > high {
		return Fail(Transient, doing, fmt.Errorf("it is %s, wanted is %s", Status(code), c.Status))
	}
	if c.Body == "" {
		return nil
	}
	wanted, err := regexp.Compile(c.Body)
	if err != nil {
		return Fail(Broken, doing, err)
	}
	if !wanted.Match(body) {
		return Fail(Transient, doing, fmt.Errorf("it is %s, but %q isn't in its body: %s", Status(code), c.Body, begin(body)))
	}
	return nil
}

// Status is a code of HTTP in words of ours: a server may write any after it.
func Status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return fmt.Sprint(code)
}

// begin is what a body begins with, harmless in a terminal.
func begin(body []byte) string {
	const most = 80
	if len(body) == 0 {
		return "it is empty"
	}
	return fmt.Sprintf("%q", body[:min(len(body), most)])
}
