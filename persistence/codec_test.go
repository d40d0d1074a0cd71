package persistence

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/blixard/blixard/vm"
)

var keep = flag.Bool("keep", false, "write the fixtures of the codec that is current; never do so for one that was released")

// fixture is a value of one kind: as it was written, and the JSON of what it means now.
type fixture struct {
	name  string
	write any
	read  func() any
}

func fixtures() []fixture {
	r := sampleRecord(1)
	return []fixture{
		{"config", config{ID: r.ID, Slot: r.Slot, Spec: r.Spec}, func() any { return &config{} }},
		{"state", r.State, func() any { return &vm.State{} }},
		{"resource", r.Reservation, func() any { return &vm.Reservation{} }},
		{"event", *sampleEntry(r), func() any { return &vm.Entry{} }},
		{"crash", sampleCrash(3), func() any { return &vm.Crash{} }},
	}
}

// TestEveryCodecIsStillRead decodes what each version wrote, and compares the
// meaning with what was meant. A change of meaning needs a new codec.
func TestEveryCodecIsStillRead(t *testing.T) {
	for version := byte(1); version <= codecJSON; version++ {
		for _, f := range fixtures() {
			base := filepath.Join("testdata", fmt.Sprintf("codec%d", version), f.name)
			if *keep && version == codecJSON {
				keepFixture(t, base, f)
			}
			value, err := os.ReadFile(base + ".value")
			if err != nil {
				t.Fatalf("each codec keeps a fixture of each kind: %v", err)
			}
			if value[0] != version {
				t.Fatalf("%s was written by codec %d", base, value[0])
			}
			got := f.read()
			if err := decode(value, got); err != nil {
				t.Fatalf("%s can't be read any more: %v", base, err)
			}
			if means := meaning(t, got); means != string(readFile(t, base+".json")) {
				t.Errorf("%s means something else now:\n%s", base, means)
			}
		}
	}
}

func keepFixture(t *testing.T, base string, f fixture) {
	t.Helper()
	value, err := encode(f.write)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{base + ".value": value, base + ".json": []byte(meaning(t, f.write))} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func meaning(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCodecKeepsEveryField(t *testing.T) {
	for _, f := range fixtures() {
		value, err := encode(f.write)
		if err != nil {
			t.Fatal(err)
		}
		got := f.read()
		if err := decode(value, got); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		if back := reflect.ValueOf(got).Elem().Interface(); !reflect.DeepEqual(back, f.write) {
			t.Errorf("%s: wrote %+v\nread %+v", f.name, f.write, back)
		}
	}
}

func TestDamagedValuesAreErrorsNotPanics(t *testing.T) {
	for _, f := range fixtures() {
		value, err := encode(f.write)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range value {
			if err := decode(value[:cut], f.read()); err == nil {
				t.Fatalf("%s cut to %d of %d bytes was read", f.name, cut, len(value))
			}
		}
		for i := range value {
			_ = decode(append(bytes.Clone(value[:i]), append([]byte{value[i] ^ 0x55}, value[i+1:]...)...), f.read())
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, x := range fixtures() {
		value, err := encode(x.write)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value, value, value)
	}
	f.Fuzz(func(t *testing.T, config, state, resource []byte) {
		r, err := decodeRecord(sampleID(1), recordParts{config, state, resource})
		if err == nil && r.ID != sampleID(1) {
			t.Fatalf("the record of %s became the one of %s", sampleID(1), r.ID)
		}
	})
}

func TestASlotWithoutAUserOfItsOwnIsBroken(t *testing.T) {
	r := sampleRecord(1)
	for slot, good := range map[uint32]bool{vm.MaxSlot: true, vm.MaxSlot + 1: false} {
		if r.Slot = slot; (checkRecord(r.ID, &r) == nil) != good {
			t.Errorf("slot %d: %v", slot, checkRecord(r.ID, &r))
		}
	}
}
