package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// halfSent begins a request on a connection of its own and sends part of its
// body. It returns when the door has begun to read that: the server says so by
// asking for the rest.
func halfSent(t *testing.T, path, part string, length int) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "POST %sListVMs HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n%s", service, length, part)
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("the door does not read: %q, %v", line, err)
	}
	return c
}

// statusOf reads one answer.
func statusOf(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	for err == nil && res.StatusCode == http.StatusContinue || err != nil && strings.Contains(err.Error(), `malformed HTTP response ""`) {
		res, err = http.ReadResponse(r, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestHalfSentRequestsOfRootHoldNoPlaceOfOthers(t *testing.T) {
	d := newWorld(record("web", vm.Running)).door(t, func(c *Config) { c.Limits = Limits{Short: 2, Patience: 50 * time.Millisecond} })
	path := serve(t, d, peer(0))
	for range 20 {
		halfSent(t, path, "{", 100)
	}
	client, _ := dialAt(path)
	for range 3 {
		if status, text := post(t, client, "GetVM", strings.NewReader(`{"name":"web"}`)); status != 200 {
			t.Fatalf("beside 20 requests that are sent half: %d %s", status, text)
		}
	}
}

func TestARequestThatNeverArrivesIsGivenUp(t *testing.T) {
	d := newWorld().door(t, func(c *Config) { c.Limits = Limits{Arrival: 20 * time.Millisecond} })
	c := halfSent(t, serve(t, d, peer(0)), `{"a`, 100)
	if status, text := statusOf(t, c); status != http.StatusBadRequest || !strings.Contains(text, "broke off after 3 bytes") {
		t.Errorf("%d %s", status, text)
	}
}

func TestAUserHasOnlySoManyRequestsOnTheirWay(t *testing.T) {
	d := newWorld(record("web", vm.Running)).door(t, func(c *Config) { c.Limits = Limits{ArrivingByUser: 2} })
	path := serve(t, d, peer(1))
	first := halfSent(t, path, "{", 2)
	halfSent(t, path, "{", 2)
	client, _ := dialAt(path)
	if status, text := post(t, client, "ListVMs", strings.NewReader(`{}`)); status != http.StatusServiceUnavailable || !strings.Contains(text, "2 requests of uid 1") {
		t.Errorf("the third: %d %s", status, text)
	}
	if _, err := io.WriteString(first, "}"); err != nil {
		t.Fatal(err)
	}
	if status, text := statusOf(t, first); status != 200 {
		t.Errorf("one that arrived late: %d %s", status, text)
	}
	if status, text := post(t, client, "ListVMs", strings.NewReader(`{}`)); status != 200 {
		t.Errorf("when one has arrived: %d %s", status, text)
	}
}

func TestLargeBodiesLeaveRoomForSmallOnes(t *testing.T) {
	d := newWorld(record("web", vm.Running)).door(t, func(c *Config) { c.Limits = Limits{Bodies: 64 << 10} })
	path := serve(t, d, peer(1))
	client, _ := dialAt(path)
	large := `{"name":"web"` + strings.Repeat(" ", 30<<10) + `}`
	if status, text := post(t, client, "GetVM", strings.NewReader(large)); status != http.StatusServiceUnavailable || !strings.Contains(text, "65536 bytes") {
		t.Errorf("a quarter of the room is not enough for %d bytes: %d %s", len(large), status, text)
	}
	fits := `{"name":"web"` + strings.Repeat(" ", 15<<10) + `}`
	for range 10 { // what is held is given back
		if status, text := post(t, client, "GetVM", strings.NewReader(fits)); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	halfSent(t, path, fits, 16<<10)
	if status, text := post(t, client, "GetVM", strings.NewReader(fits)); status != http.StatusServiceUnavailable {
		t.Errorf("beside one of the same size: %d %s", status, text)
	}
	if status, text := post(t, client, "GetVM", strings.NewReader(`{"name":"web"}`)); status != 200 {
		t.Errorf("a small one: %d %s", status, text)
	}
}

func TestNothingIsCountedWhenAllHaveGone(t *testing.T) {
	a := newAdmission(Limits{}, -2)
	for range 3 {
		r, no := a.arrive(7)
		if no != nil || !r.hold(5000) {
			t.Fatal(no)
		}
		r.arrived()
		r.arrived()
		r.end()
		r.end()
	}
	if u := a.users[7]; !u.idle() || a.bytes != 0 {
		t.Errorf("%+v, %d bytes", u, a.bytes)
	}
	for uid := range rememberedUsers + 5 {
		r, _ := a.arrive(uid + 10)
		if uid%2 == 0 {
			r.end()
		}
	}
	if len(a.users) > rememberedUsers {
		t.Errorf("%d users are remembered", len(a.users))
	}
}
