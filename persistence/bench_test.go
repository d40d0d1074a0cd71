package persistence

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// BenchmarkCommit shows what group commit gives: turns a second by writers, and
// the bare sync of the same disk beside it.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			p, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			commitFrom(b, p, writers)
		})
	}
}

func BenchmarkCommitMemory(b *testing.B) { commitFrom(b, NewMemory(), 1) }

func commitFrom(b *testing.B, s Store, writers int) {
	for n := range writers {
		mustCommit(b, s, Turn{Record: sampleRecord(n), Whole: true})
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	begun := time.Now()
	for n := range writers {
		wg.Go(func() {
			r := sampleRecord(n)
			for left.Add(-1) >= 0 {
				r.State.Revision++
				if _, err := s.Commit(Turn{Record: r, Entry: sampleEntry(r)}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "turns/s")
}

// BenchmarkLoad opens a store of 1,000 VMs as a daemon does and loads them.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	p, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() { mustCommit(b, p, Turn{Record: sampleRecord(n), Whole: true, Entry: &vm.Entry{Kind: "K"}}) })
	}
	wg.Wait()
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
	var opening, loading time.Duration
	for b.Loop() {
		begun := time.Now()
		p, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Now()
		records, broken, err := p.Load()
		if err != nil || len(records) != 1000 || len(broken) > 0 {
			b.Fatalf("%d records, %v, %v", len(records), broken, err)
		}
		opening += opened.Sub(begun)
		loading += time.Since(opened)
		_ = p.Close()
	}
	b.ReportMetric(opening.Seconds()*1000/float64(b.N), "open-ms")
	b.ReportMetric(loading.Seconds()*1000/float64(b.N), "load-ms")
}
