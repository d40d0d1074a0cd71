package pressure

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
)

func TestPressureIsReadAsTheKernelWritesIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pressure"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"cpu":    "some avg10=12.50 avg60=3.00 avg300=1.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"io":     "some avg10=99.99 avg60=3.00 avg300=1.00 total=1234\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "pressure", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Machine{Proc: dir}.Pressure()
	if want := (host.Pressure{CPU: 12.5, IO: 99.99, IOStood: 1234 * time.Microsecond}); err != nil || p != want {
		t.Errorf("pressure %+v, %v, want %+v", p, err, want)
	}
	if _, err := (Machine{Proc: t.TempDir()}).Pressure(); host.KindOf(err) != host.Gone {
		t.Errorf("a kernel without PSI: %v", err)
	}
	for _, text := range []string{
		"", "some\n", "some avg10=x avg60=0 avg300=0 total=1\n", "some avg10=NaN avg60=0 avg300=0 total=1\n", "some avg10=101 avg60=0 avg300=0 total=1\n", "full avg10=1\n", "some avg60=1\n",
		"some avg10=1 avg60=1 avg300=1\n", "some avg10=1 avg60=1 avg300=1 total=-1\n", "some avg10=1 avg60=1 avg300=1 total=9223372036854775807\n",
	} {
		if v, _, err := parse([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, v)
		}
	}
}
