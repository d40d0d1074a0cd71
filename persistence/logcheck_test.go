package persistence

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// newestLog returns the log that would be replayed, and its number.
func newestLog(t testing.TB, w whole) ([]byte, uint32) {
	t.Helper()
	var newest string
	for name := range w.files {
		if strings.HasSuffix(name, ".log") && name > newest {
			newest = name
		}
	}
	number, err := strconv.ParseUint(strings.TrimSuffix(newest, ".log"), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return w.files[newest], uint32(number)
}

// TestATornTailIsNoDamage: a cut tears the end of a log, and may keep a later
// page of a write without an earlier one. Neither may keep a node in safe mode.
func TestATornTailIsNoDamage(t *testing.T) {
	log, number := newestLog(t, wholeStore(t))
	end := endOfChunks(log, number)
	if end < 2*logBlock {
		t.Fatalf("the log has only %d bytes: this test tests nothing", end)
	}
	for cut := 0; cut < end; cut += 501 {
		if at, isDamaged := damageIn(log[:cut], number); isDamaged {
			t.Fatalf("cut at %d: damaged at %d", cut, at)
		}
		torn := append(bytes.Clone(log[:cut]), make([]byte, len(log)-cut)...)
		if at, isDamaged := damageIn(torn, number); isDamaged {
			t.Fatalf("zeros from %d: damaged at %d", cut, at)
		}
	}
	if _, isDamaged := damageIn(log, number+1); isDamaged {
		t.Error("the records of a log's earlier life are taken for its own")
	}
	synced := 0 // the start of the last chunk: all before it is synced, it isn't known to be
	for at := 0; at < end; {
		length, _, ok := chunkAt(log, at, number)
		if !ok {
			at += logBlock - at%logBlock
			continue
		}
		synced, at = at, at+length
	}
	for _, at := range []int{synced, synced + chunkHeader, end - 1} {
		torn := bytes.Clone(log)
		torn[at] ^= 1
		if at, isDamaged := damageIn(torn, number); isDamaged {
			t.Errorf("the last chunk is torn: damaged at %d", at)
		}
	}
}

func FuzzLogsAreCheckedWithoutPanic(f *testing.F) {
	f.Add([]byte{}, uint32(1))
	f.Add(make([]byte, logBlock+chunkHeader-1), uint32(0))
	f.Add(slices.Repeat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, firstKind, 1, 0, 0, 0}, 4000), uint32(1))
	f.Fuzz(func(t *testing.T, log []byte, number uint32) {
		if at, isDamaged := damageIn(log, number); at < 0 || isDamaged && at >= len(log) {
			t.Errorf("damage at %d of %d", at, len(log))
		}
	})
}
