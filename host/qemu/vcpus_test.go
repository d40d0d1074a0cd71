package qemu

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func TestThreadsOfVCPUs(t *testing.T) {
	const one = `{"cpu-index": %d, "qom-path": "/machine/unattached/device[0]", "thread-id": %d, "target": "x86_64", "props": {"core-id": 0}}`
	for _, tt := range []struct {
		story, answer string
		want          []int
		broken        bool
	}{
		{"in the order of the vCPUs", `"return": [` + fmt.Sprintf(one, 1, 812) + "," + fmt.Sprintf(one, 0, 811) + "]", []int{811, 812}, false},
		{"they take turns in one", `"return": [` + fmt.Sprintf(one, 0, 811) + "," + fmt.Sprintf(one, 1, 811) + "]", []int{811, 811}, false},
		{"none", `"return": []`, []int{}, false},
		{"more than a guest has", `"return": [` + strings.TrimSuffix(strings.Repeat(fmt.Sprintf(one, 0, 1)+",", vm.MaxCPUs+1), ",") + "]", nil, true},
		{"another shape", `"return": {"cpu-index": 1}`, nil, true},
		{"threads that are no numbers", `"return": [{"cpu-index": 0, "thread-id": "811"}]`, nil, true},
		{"a number that none can be", `"return": [{"cpu-index": 0, "thread-id": 1e300}]`, nil, true},
		{"it knows no such command", `"error": {"class": "CommandNotFound", "desc": "no"}`, nil, true},
	} {
		t.Run(tt.story, func(t *testing.T) {
			s, _ := attachFake(t, func(in *bufio.Scanner, out io.WriteCloser) {
				id := nextID(in, "query-cpus-fast")
				fmt.Fprintf(out, "{%s, \"id\": %d}\n", tt.answer, id)
				nextID(in, "never")
			})
			got, err := s.VCPUs(deadline(t))
			if tt.broken != (host.KindOf(err) == host.Broken) || err != nil != tt.broken || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
