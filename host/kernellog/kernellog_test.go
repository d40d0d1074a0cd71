package kernellog

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

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
		{"long ago", "3,11,1000000,-;" + whole + "\n", 4711, ""},
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
			got, ok := killed([]byte(tt.record), tt.pid, 60*time.Second)
			if ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
}

func FuzzKilled(f *testing.F) {
	f.Add([]byte("3,1187,81234567,-;" + whole + "\n"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if line, ok := killed(record, 4711, 0); ok && len(line) > len(record) {
			t.Errorf("%q of %q", line, record)
		}
	})
}

func TestALogThatCannotBeReadIsDenied(t *testing.T) {
	_, err := Log{filepath.Join(t.TempDir(), "none")}.Killed(t.Context(), 1, time.Now())
	if host.KindOf(err) != host.Denied || err == nil {
		t.Errorf("got %v, want Denied", err)
	}
}

// TestALookIsBounded: by the device's end, and by its ctx.
func TestALookIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if line, err := (Log{file}).Killed(t.Context(), 1, time.Now()); line != "" || err != nil {
		t.Errorf("an empty log says %q, %v", line, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Log{"/dev/zero"}).Killed(ctx, 1, time.Now()); host.KindOf(err) != host.Transient || err == nil {
		t.Errorf("a log without an end: %v, want Transient", err)
	}
	if line, err := (Log{"/dev/zero"}).Killed(t.Context(), 1, time.Now()); line != "" || err != nil {
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
