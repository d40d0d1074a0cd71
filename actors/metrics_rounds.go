package actors

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/blixard/blixard/vm"
)

// rounds counts what the checks of all VMs saw in this life of the daemon.
type rounds struct{ passed, failed, excused atomic.Uint64 }

func (r *rounds) count(one vm.Round) {
	switch {
	case one.OK:
		r.passed.Add(1)
	case one.Dropped != "":
		r.excused.Add(1)
	default:
		r.failed.Add(1)
	}
}

var checkRounds = prometheus.NewDesc("blixard_check_rounds_total",
	"Rounds of the VMs' checks, by result: passed, failed, excused (not judged, as the host or the daemon stood still).", []string{"result"}, nil)

// counted tells of the rounds.
type counted struct{ of *rounds }

// Describe tells which metric there is.
func (c counted) Describe(to chan<- *prometheus.Desc) { to <- checkRounds }

// Collect reads the counters.
func (c counted) Collect(to chan<- prometheus.Metric) {
	for result, n := range map[string]*atomic.Uint64{"passed": &c.of.passed, "failed": &c.of.failed, "excused": &c.of.excused} {
		to <- prometheus.MustNewConstMetric(checkRounds, prometheus.CounterValue, float64(n.Load()), result)
	}
}
