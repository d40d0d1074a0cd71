package actors

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/blixard/blixard/vm"
)

// Metrics counts turns and tells how the VMs stand. It is an Observer, and a
// registry for GET /metrics.
type Metrics struct {
	Registry  *prometheus.Registry
	turns     *prometheus.CounterVec
	decisions *prometheus.CounterVec
	restarts  prometheus.Counter
	recovery  prometheus.Histogram
	commit    prometheus.Histogram
}

// NewMetrics makes the registry of one node.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "blixard_turns_total", Help: "Durable turns of the VMs' state machines, by event.",
		}, []string{"event"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "blixard_decisions_total", Help: "Supervision decisions after the end of an incarnation, by decision and cause.",
		}, []string{"decision", "cause"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "blixard_restarts_total", Help: "Incarnations that supervision began.",
		}),
		recovery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "blixard_recovery_seconds", Help: "Time from the end of an incarnation until the guest of the next one answered.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 14),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "blixard_store_commit_seconds", Help: "Time of one synced write of a turn.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 14),
		}),
	}
	m.Registry.MustRegister(m.turns, m.decisions, m.restarts, m.recovery, m.commit,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Turned counts one durable turn.
func (m *Metrics) Turned(t Turned) {
	m.turns.WithLabelValues(t.Event.String()).Inc()
	m.commit.Observe(t.Stored.Seconds())
	if t.Crash != nil {
		m.decisions.WithLabelValues(string(t.Crash.Decision.Do), string(t.Crash.Failure.Cause)).Inc()
	}
	if n := t.After.State.Restarts - t.Before.State.Restarts; n > 0 {
		m.restarts.Add(float64(n))
	}
	if s := t.After.State; t.Event == vm.GuestAnswered && s.LastExit != nil && recovered(*s.LastExit) {
		m.recovery.Observe(s.ReadyAt.Sub(s.LastExit.Failure.At).Seconds())
	}
}

// recovered: the incarnation that answered was begun because of that death.
func recovered(c vm.Crash) bool {
	return c.Decision.Do == vm.RestartNow || c.Decision.Do == vm.BackOff
}

// Show adds what is read from the node at each scrape.
func (m *Metrics) Show(n *Node) { m.Registry.MustRegister(standing{n}) }

// standing tells how many VMs stand in each phase and health.
type standing struct{ node *Node }

var (
	vmsByPhase = prometheus.NewDesc("blixard_vms", "VMs by phase.", []string{"phase"}, nil)
	vmsByState = prometheus.NewDesc("blixard_vms_health", "VMs by health.", []string{"health"}, nil)
	parkedVMs  = prometheus.NewDesc("blixard_vms_parked", "VMs whose actor failed too often by a bug.", nil, nil)
)

// Describe tells which metrics there are.
func (s standing) Describe(to chan<- *prometheus.Desc) {
	to <- vmsByPhase
	to <- vmsByState
	to <- parkedVMs
}

// Collect counts the views.
func (s standing) Collect(to chan<- prometheus.Metric) {
	phases, healths, parked := map[vm.Phase]int{}, map[vm.Health]int{}, 0
	for _, v := range s.node.env.views.list() {
		phases[v.rec.State.Phase]++
		healths[v.rec.State.Health]++
		if v.parked != "" {
			parked++
		}
	}
	for _, p := range vm.AllPhases.Each() {
		to <- prometheus.MustNewConstMetric(vmsByPhase, prometheus.GaugeValue, float64(phases[p]), p.String())
	}
	for h := vm.HealthUnknown; h <= vm.Unhealthy; h++ {
		to <- prometheus.MustNewConstMetric(vmsByState, prometheus.GaugeValue, float64(healths[h]), h.String())
	}
	to <- prometheus.MustNewConstMetric(parkedVMs, prometheus.GaugeValue, float64(parked))
}
