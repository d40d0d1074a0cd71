package actors_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A shutdown ends the bootstrap, and nobody is told that it still runs.
func TestAShutdownEndsTheBootstrapsReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(20*time.Second))
		defer func() { s.end() }()
		names := numbered(8)
		s.raise(names...)
		s.powerCut()
		s.after(25 * time.Second)
		before := s.report()
		if before.State != "running" || len(before.Waiting) == 0 {
			t.Fatalf("the bootstrap is %+v, the test wants it in its midst", before)
		}
		if err := s.shutdown(5 * time.Minute); err != nil {
			t.Fatal(err)
		}
		r := s.report()
		if r.State != "done" || r.EndedAt.IsZero() || !r.EndsAbout.IsZero() || r.Pressure != "" || len(r.Starting) > 0 || r.Ready != before.Ready {
			t.Errorf("after the shutdown the report is %+v", r)
		}
		for _, n := range before.Waiting {
			if !slices.Contains(r.Waiting, n) {
				t.Errorf("%s waited for its turn, and the report has forgotten it: %v", n, r.Waiting)
			}
		}
	})
}
