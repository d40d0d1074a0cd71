package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/blixard/blixard/vm"
)

// Who offers to unpack gets it plain all the same: a writer of gzip holds a
// megabyte of the daemon, and the other end of the socket is this machine.
func TestAnswersAreNotPacked(t *testing.T) {
	client, _ := socket(t, newWorld(record("web", vm.Running)).door(t), peer(0))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://blixard/blixard.v1.Node/ListVMs", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d, Content-Encoding %q", res.StatusCode, res.Header.Get("Content-Encoding"))
	}
}
