package kernellog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// Lines as kernels 4.19 to 6.1 wrote them.
const (
	whole  = "Out of memory: Killed process 4711 (blixard-web) total-vm:1310720kB, anon-rss:262144kB, file-rss:1024kB, shmem-rss:0kB, UID:100003 pgtables:912kB oom_score_adj:0"
	group  = "Memory cgroup out of memory: Killed process 4711 (blixard-web) total-vm:1310720kB, anon-rss:262144kB, file-rss:1024kB, shmem-rss:0kB, UID:100003 pgtables:912kB oom_score_adj:0"
	detail = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/blixard/web,task=blixard-web,pid=4711,uid=100003"
)

func TestTheKernelAloneIsBelieved(t *testing.T) {
	tests := []struct {
		name, record string
		pid          int
		want         string
	}{
		{"the node's memory", "3,1187,81234567,-;" + whole + "\n", 4711, whole},
		{"a cgroup's", "3,1188,81234567,-;" + group + "\n", 4711, group},
		{"with notes of the kernel", "3,1187,81234567,-,caller=T99;" + whole + "\n SUBSYSTEM=x\n DEVICE=y\n", 4711, whole},
		{"the allocating task", "3,1,81234567,-;Out of memory (oom_kill_allocating_task): Killed process 4711 (q)\n", 4711, "Out of memory (oom_kill_allocating_task): Killed process 4711 (q)"},
		{"another process", "3,1187,81234567,-;" + whole + "\n", 471, ""},
		{"another that begins alike", "3,1187,81234567,-;" + whole + "\n", 47110, ""},
		{"only the detail, which begins with a name", "6,1186,81234567,-;" + detail + "\n", 4711, ""},
		{"written by a program", "11,1187,81234567,-;" + whole + "\n", 4711, ""},
		{"a name that tells of another", "3,1,81234567,-;Out of memory: Killed process 5 (x) Killed process 4711 (q) total-vm:1kB\n", 4711, ""},
		{"a name that ends the line", `3,1,81234567,-;Out of memory: Killed process 5 (\x0aOut of memory: Killed process 4711 (q) total-vm:1kB` + "\n", 4711, ""},
		{"in the midst of a line", "4,1,81234567,-;usb 1-1: Product: Out of memory: Killed process 4711 (q)\n", 4711, ""},
		{"nothing", "", 4711, ""},
		{"no head", ";" + whole, 4711, ""},
		{"a head that is cut", "3,1187;" + whole, 4711, ""},
		{"no numbers", "a,b,c,-;" + whole, 4711, ""},
		{"no pid", "3,1187,81234567,-;Out of memory: Killed process ", 4711, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, ok := killed([]byte(tt.record))
			if ok = ok && k.pid == tt.pid; ok != (tt.want != "") || ok && k.line != tt.want {
				t.Errorf("got %+v, %v; want %q", k, ok, tt.want)
			}
		})
	}
}

func FuzzKilled(f *testing.F) {
	f.Add([]byte("3,1187,81234567,-;" + whole + "\n"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if k, ok := killed(record); ok && (len(k.line) > len(record) || k.pid <= 0) {
			t.Errorf("%+v of %q", k, record)
		}
	})
}

func TestALogThatCannotBeReadIsDenied(t *testing.T) {
	_, err := open(filepath.Join(t.TempDir(), "none"))
	if host.KindOf(err) != host.Denied || err == nil {
		t.Errorf("got %v, want Denied", err)
	}
}

// opened is a log that a test writes record by record, as the kernel gives it.
func opened(t *testing.T) (l *Log, says func(record string)) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) })
	return &Log{fd: pair[0]}, func(record string) {
		t.Helper()
		if _, err := unix.Write(pair[1], []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
}

// stamped is a record of that kill, told that long ago.
func stamped(t *testing.T, ago time.Duration, pid int) string {
	t.Helper()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		t.Fatal(err)
	}
	at := time.Duration(up.Nano()) - ago
	return fmt.Sprintf("3,1,%d,-;Out of memory: Killed process %d (blixard-web)\n", at.Microseconds(), pid)
}

// A death that is judged late, or beside others, finds its line all the same.
func TestEachDeathFindsItsLine(t *testing.T) {
	l, says := opened(t)
	asks := func(pid int, want bool) {
		t.Helper()
		line, err := l.Killed(t.Context(), pid, time.Now().Add(-time.Minute))
		if err != nil || (line != "") != want {
			t.Errorf("of %d it says %q, %v; want a line: %v", pid, line, err, want)
		}
	}
	asks(1, false)
	says(stamped(t, time.Hour, 11)) // another one had the pid
	says(stamped(t, 2*time.Second, 12))
	says(stamped(t, time.Second, 13))
	asks(13, true)
	asks(12, true)
	asks(11, false)
	says(stamped(t, 0, 11))
	asks(11, true)
	asks(13, true)
	for i := range maxKills {
		says(stamped(t, 0, 100+i))
		asks(100+i, true)
	}
	asks(13, false)
	if len(l.kills) != maxKills {
		t.Errorf("%d kills are kept, want %d", len(l.kills), maxKills)
	}
}

// TestALookIsBounded: by the device's end, and by its ctx.
func TestALookIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	looks := func(ctx context.Context, path string) (string, error) {
		l, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(l.fd) })
		return l.Killed(ctx, 1, time.Now())
	}
	if line, err := looks(t.Context(), file); line != "" || err != nil {
		t.Errorf("an empty log says %q, %v", line, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := looks(ctx, "/dev/zero"); host.KindOf(err) != host.Transient || err == nil {
		t.Errorf("a log without an end: %v, want Transient", err)
	}
	if line, err := looks(t.Context(), "/dev/zero"); line != "" || err != nil {
		t.Errorf("a log without an end says %q, %v", line, err)
	}
}

// TestTheRealLog of this machine, where it may be read.
func TestTheRealLog(t *testing.T) {
	log, err := Open()
	if err != nil {
		t.Skipf("SKIP the kernel's own log: %v", err)
	}
	began := time.Now()
	line, err := log.Killed(t.Context(), os.Getpid(), time.Now())
	if line != "" || err != nil {
		t.Errorf("this process lives, and the log says %q, %v", line, err)
	}
	t.Logf("a look takes %v", time.Since(began))
}
