package meter

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func TestNumbersAreDigitsThatCanBeHeld(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "42": 42, "18446744073709551615": math.MaxUint64} {
		if n, ok := number([]byte(text)); !ok || n != want {
			t.Errorf("%q is %d, %t", text, n, ok)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1.5", "0x1", "1 ", "18446744073709551616", "99999999999999999999", "100000000000000000000000"} {
		if n, ok := number([]byte(text)); ok {
			t.Errorf("%q was read as %d", text, n)
		}
	}
}

func TestStatWithAHostileName(t *testing.T) {
	for _, name := range []string{"qemu", "a) R 1 (", "((((", "))))", "", " ", "\xff\x00\n", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"} {
		s, ok := parseStat([]byte(thread(7, name, 11, 22, 33)))
		if !ok || string(s.name) != name || s.used != 330*time.Millisecond || s.start != 33 || s.state != 'S' {
			t.Errorf("%q: %+v, %t", name, s, ok)
		}
	}
	whole := thread(7, "qemu", 11, 22, 33)
	end := strings.Index(whole, " 33 ")
	for i := range end + 1 {
		if s, ok := parseStat([]byte(whole[:i])); ok && s.start == 33 {
			t.Errorf("cut to %q it was read", whole[:i])
		}
	}
	if _, ok := parseStat([]byte(strings.Replace(whole, " 33 ", " -33 ", 1))); ok {
		t.Error("a negative start time was read")
	}
	if s, ok := parseStat([]byte(thread(7, "q", math.MaxInt64, math.MaxInt64, 33))); !ok || s.used < 0 {
		t.Errorf("more time than can be held: %+v, %t", s, ok)
	}
}

func TestNameInStatusMakesNoLineOfItsOwn(t *testing.T) {
	resident, peak := parseStatus([]byte("Name:\tVmRSS: 7 kB\\nVmHWM: 9 kB\nVmHWM:\t 5 kB\nVmRSS:\t 4 kB\n"))
	if resident != 4*vm.KiB || peak != 5*vm.KiB {
		t.Errorf("%d, %d", resident, peak)
	}
	if resident, peak = parseStatus([]byte("Name:\tqemu\nState:\tZ\n")); resident != 0 || peak != 0 {
		t.Errorf("a zombie holds %d, %d", resident, peak)
	}
	if resident, _ = parseStatus([]byte("VmRSS:\t 18446744073709551615 kB\n")); resident < 0 {
		t.Errorf("more than can be held: %d", resident)
	}
}

func TestWhatALimitCounts(t *testing.T) {
	for text, want := range map[string]vm.Bytes{
		"VmRSS:\t  900 kB\nRssAnon:\t  500 kB\nRssFile:\t  300 kB\nRssShmem:\t  100 kB\nVmPTE:\t   20 kB\n": 620 * vm.KiB,
		"RssAnon:\t 18446744073709551615 kB\nRssShmem:\t 18446744073709551615 kB\n":                         maxCharged,
		"Name:\tRssAnon: 7 kB\n": 0, "": 0,
	} {
		if got := parseCharged([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestPressureAndLimits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=1500\nfull total=9\n": 1500 * time.Microsecond,
		"some total=18446744073709551615":                                   9223372036854775 * time.Microsecond,
		"":                                                                  0, "some": 0, "some total": 0, "some total=": 0, "some total=-1": 0, "full total=5": 0,
	} {
		if got := parseWaited([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]vm.Bytes{"max\n": 0, "": 0, "9223372036854771712\n": 0, "4096\n": 4096, "0\n": 0, "-1\n": 0} {
		if got := parseLimit([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestInterfacesAreFoundByTheirWholeName(t *testing.T) {
	of := func(text string) traffic {
		wanted := map[string]traffic{"blx1n0": {}}
		parseLinks([]byte(text), wanted)
		return wanted["blx1n0"]
	}
	line := "%s:1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"
	if got := of(fmt.Sprintf(line, "blx1n01") + fmt.Sprintf(line, "ablx1n0") + fmt.Sprintf("  "+line, "blx1n0")); got != (traffic{1, 3, 6}) {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{"", "blx1n0", "blx1n0:", "blx1n0: 1 2 3", "blx1n0: 1 2 0 0 0 0 0 0 -3 4\n", fmt.Sprintf(line, "blx1n01")} {
		if got := of(text); got != (traffic{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestCgroupsBelowWhereTheHierarchyIsMounted(t *testing.T) {
	for _, c := range []struct{ point, root, cgroup, want string }{
		{"/sys/fs/cgroup", "/", "/a/b", "/sys/fs/cgroup/a/b"},
		{"/sys/fs/cgroup", "/", "/", ""},
		{"/sys/fs/cgroup", "/", "", ""},
		{"/sys/fs/cgroup", "/", "/../x", ""},
		{"/sys/fs/cgroup", "/", "/a/../../x", ""},
		{"", "/", "/a", ""},
		{"/sys/fs/cgroup", "/box", "/box/a", "/sys/fs/cgroup/a"},
		{"/sys/fs/cgroup", "/box", "/box", ""},
		{"/sys/fs/cgroup", "/box", "/boxes/a", ""},
	} {
		if got := (mount{c.point, c.root}).at(c.cgroup); got != c.want {
			t.Errorf("%q of %q at %q: %q, want %q", c.cgroup, c.root, c.point, got, c.want)
		}
	}
}

func TestVCPUsByTheNamesOfManyVMMs(t *testing.T) {
	for name, want := range map[string]bool{
		"CPU 0/KVM": true, "CPU 11/TCG": true, "ALL CPUs/TCG": true, "vcpu3": true, "crosvm_vcpu0": true, "fc_vcpu 1": true, "kvm-vcpu-2": true,
		"": false, "CPU": false, "CPU ": false, "CPU x": false, "vcpu": false, "vcpu-watch": false, "blixard-vcpu1": false, "qemu-system-x86": false, "worker": false,
	} {
		if isVCPU([]byte(name)) != want {
			t.Errorf("%q: not %t", name, want)
		}
	}
}

// recorded are files of real machines.
func recorded(f *testing.F) {
	files, err := os.ReadDir("testdata/recorded")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range files {
		b, err := os.ReadFile("testdata/recorded/" + e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzKernelFiles: whatever is in a file, no parser of any of them fails, or
// makes a number that less than nothing.
func FuzzKernelFiles(f *testing.F) {
	recorded(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := parseStat(b)
		resident, peak := parseStatus(b)
		read, written := parseIO(b)
		used, of := parseMeminfo(b)
		for _, n := range []vm.Bytes{resident, peak, read, written, parseLimit(b), used, of, parseCharged(b)} {
			if n < 0 {
				t.Errorf("%d bytes", n)
			}
		}
		for _, d := range []time.Duration{s.used, parseWaited(b), parseBusy(b)} {
			if d < 0 {
				t.Errorf("time of %s", d)
			}
		}
		wanted := map[string]traffic{"blx1n0": {}}
		parseLinks(b, wanted)
		if len(wanted) != 1 {
			t.Errorf("an interface that nobody asked for: %v", wanted)
		}
		at := parseMounts(b)
		stalls, limits := places(b, mounts{v2: mount{"/c", "/"}, memory: mount{"/m", "/"}})
		for _, folder := range []string{stalls.folder, limits.folder} {
			if strings.Contains(folder, "..") && strings.Contains(folder, "/../") {
				t.Errorf("out of the hierarchy: %q, %+v", folder, at)
			}
		}
	})
}
