package process

import (
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

func threads(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// held is what the heap and the stacks hold now.
func held() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func TestAThousandVMMsCostNoThreads(t *testing.T) {
	if testing.Short() {
		t.Skip("launches many processes")
	}
	const n = 1000
	w := newWorld(t)
	w.Launch(w.Sh(n, 1, sleeps))
	files, before, had := openFiles(t), held(), threads(t)

	var mu sync.Mutex
	told := map[int]time.Time{}
	var all sync.WaitGroup
	all.Add(n)
	began := time.Now()
	list := make([]vm.Process, n)
	for i := range list {
		c := w.Sh(i, 1, sleeps)
		c.Argv, c.Stderr = []string{"/bin/sleep", "600"}, ""
		list[i] = w.Launch(c)
		w.l.Watch(list[i], func(e vm.Exit) {
			mu.Lock()
			told[list[i].PID] = time.Now()
			mu.Unlock()
			all.Done()
		})
	}
	took := time.Since(began)
	each := (held() - before) / n
	t.Logf("%d launches in %v, %v each; %d bytes and %.1f files held for each; %d threads before, %d after",
		n, took, took/n, each, float64(openFiles(t)-files)/n, had, threads(t))
	if each > 20<<10 {
		t.Errorf("each watched VMM holds %d bytes", each)
	}
	if more := threads(t) - had; more > n/10 { // a busy runtime makes some by itself
		t.Errorf("%d threads more for %d VMMs: watching blocks threads", more, n)
	}

	sent := map[int]time.Time{}
	for _, p := range list {
		sent[p.PID] = time.Now()
		launchertest.Kill9(t, p.PID)
	}
	all.Wait()
	var late []time.Duration
	for pid, at := range told {
		late = append(late, at.Sub(sent[pid]))
	}
	slices.Sort(late)
	t.Logf("from SIGKILL to the notice: median %v, last %v", late[len(late)/2], late[len(late)-1])
	if more := openFiles(t) - files; more > 0 {
		t.Errorf("%d files still open after all have ended", more)
	}
}

func TestAThousandFindsAreOneScan(t *testing.T) {
	if testing.Short() {
		t.Skip("launches many processes")
	}
	const n = 300
	w := newWorld(t)
	var list []vm.Process
	for i := range n {
		c := w.Sh(i, 1, sleeps)
		c.Stderr = ""
		list = append(list, w.Launch(c))
	}
	for story, hint := range map[string]func(int) *vm.Process{
		"without hints": func(int) *vm.Process { return nil },
		"with hints":    func(i int) *vm.Process { return &list[i] },
	} {
		w.Restart()
		began := time.Now()
		for i := range list {
			if p, err := w.l.Find(t.Context(), w.Ref(i, 1), hint(i)); err != nil || p != list[i] {
				t.Fatalf("%s: %+v, %v, want %+v", story, p, err, list[i])
			}
		}
		for i := range n { // none of these lives
			_, err := w.l.Find(t.Context(), w.Ref(n+i, 1), nil)
			launchertest.WantKind(t, story, err, 3)
		}
		t.Logf("%s: %d found and as many not found in %v", story, n, time.Since(began))
	}
}

func TestNoticeOfOneEndIsQuick(t *testing.T) {
	w := newWorld(t)
	var late []time.Duration
	for i := range 30 {
		p := w.Launch(w.Sh(i, 1, sleeps))
		told := make(chan time.Time, 1)
		w.l.Watch(p, func(vm.Exit) { told <- time.Now() })
		sent := time.Now()
		launchertest.Kill9(t, p.PID)
		select {
		case at := <-told:
			late = append(late, at.Sub(sent))
		case <-time.After(patience):
			t.Fatal("no notice")
		}
	}
	slices.Sort(late)
	t.Logf("from SIGKILL to the notice: median %v, slowest %v", late[15], late[29])
}

func TestNothingLeaks(t *testing.T) {
	w := newWorld(t)
	round := func(n vm.Incarnation) {
		p := w.Launch(w.Sh(1, n, sleeps))
		for range 20 {
			w.l.Watch(p, func(vm.Exit) { t.Error("a cancelled watch was told") })()
		}
		if err := w.l.Kill(t.Context(), w.Ref(1, n), nil); err != nil {
			t.Fatal(err)
		}
		old := vm.Process{PID: os.Getpid(), StartTime: 1, BootID: w.config.BootID}
		w.l.Watch(old, func(vm.Exit) {})()
		w.Restart()
		if _, err := w.l.Find(t.Context(), w.Ref(1, n), &old); err == nil {
			t.Error("found ourselves")
		}
	}
	round(1)
	files, routines := openFiles(t), runtime.NumGoroutine()
	for n := range vm.Incarnation(20) {
		round(n + 2)
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > routines && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if openFiles(t) > files || runtime.NumGoroutine() > routines {
		t.Errorf("%d files and %d goroutines before, %d and %d after", files, routines, openFiles(t), runtime.NumGoroutine())
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	}
}

func TestClosingLetsGoOfAll(t *testing.T) {
	w := newWorld(t)
	p := w.Launch(w.Sh(1, 1, sleeps))
	w.l.Watch(p, func(vm.Exit) { t.Error("P6: the end of the daemon looked like the end of a VMM") })
	w.Restart()
	if !launchertest.Alive(p) {
		t.Error("P6: the end of the daemon ended a VMM")
	}
	if s, err := procfs.Default.Stat(p.PID); err != nil || s.Ended() {
		t.Errorf("%+v, %v", s, err)
	}
}
