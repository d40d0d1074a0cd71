package messages

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/messages/blixardv1"
)

func TestJSONWritesBytesAsNumbersAndReadsThemBack(t *testing.T) {
	hostile := `quote " backslash \ brace { } [ ] , : "memoryBytes":"7" ` + "\x1b[31m\u2028"
	m := &blixardv1.ListVMsResponse{Vms: []*blixardv1.VM{{
		Name: "web", Incarnation: 7, Reason: hostile,
		StartedAt:   timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		Reservation: &blixardv1.Reservation{Cpus: 2, MemoryBytes: 268435456, DiskBytes: -1},
		Restarts:    &blixardv1.Restarts{Count: 3, Delay: durationpb.New(1500 * time.Millisecond)},
		Spec:        &blixardv1.VMSpec{Name: "web", Disks: []*blixardv1.Disk{{SizeBytes: 1 << 30}, {}}},
	}, {}}}
	b, err := JSON{}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"memoryBytes":268435456`, `"diskBytes":-1`, `"incarnation":7`, `"sizeBytes":1073741824`, `"delay":"1.500s"`,
		`"startedAt":"2026-01-02T03:04:05Z"`, `"lastExit":null`, `"probes":[]`, `"sizeBytes":0`, `"pid":null`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, b)
		}
	}
	back := &blixardv1.ListVMsResponse{}
	if err := protojson.Unmarshal(b, back); err != nil {
		t.Fatalf("protojson can't read it back: %v\n%s", err, b)
	}
	if !proto.Equal(m, back) {
		t.Fatalf("read back as something else:\n%v\n%v", m, back)
	}
}

func TestJSONWalksMapsAndKeepsExtremes(t *testing.T) {
	m := &blixardv1.NodeStatusResponse{
		Phases: map[string]int32{"a\"b": 1, "running": 3}, LastEvent: math.MaxUint64,
	}
	b, err := JSON{}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b) || !strings.Contains(string(b), `"lastEvent":18446744073709551615`) {
		t.Fatalf("not as expected: %s", b)
	}
	back := &blixardv1.NodeStatusResponse{}
	if err := (JSON{}).Unmarshal(b, back); err != nil || !proto.Equal(m, back) {
		t.Fatalf("read back: %v %v", err, back)
	}
}

func TestJSONRefusesWhatItDoesNotKnow(t *testing.T) {
	for in, want := range map[string]string{
		``:                                "empty",
		`{"nmae":"web"}`:                  "nmae",
		`{"name":7}`:                      "name",
		`{"name":"` + "\xff" + `"}`:       "UTF-8",
		`[`:                               "",
		strings.Repeat(`{"spec":`, 20000): "",
	} {
		err := JSON{}.Unmarshal([]byte(in), &blixardv1.GetVMRequest{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: error %v, want one with %q", in, err, want)
		}
	}
}

func FuzzJSONReasonSurvives(f *testing.F) {
	f.Add("a\\\"b{}", uint64(1))
	f.Fuzz(func(t *testing.T, reason string, n uint64) {
		m := &blixardv1.VM{Reason: strings.ToValidUTF8(reason, "?"), Revision: n, Incarnation: n}
		b, err := JSON{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back := &blixardv1.VM{}
		if err := (JSON{}).Unmarshal(b, back); err != nil || !proto.Equal(m, back) {
			t.Fatalf("%v: %s", err, b)
		}
	})
}
