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
func (m *Metrics) Show(n *Node) {
	m.Registry.MustRegister(standing{n}, consumption{n}, onShelves{n}, counted{&n.env.rounds})
}

// standing tells how many VMs stand in each phase and health.
type standing struct{ node *Node }

var (
	vmsByPhase = prometheus.NewDesc("blixard_vms", "VMs by phase.", []string{"phase"}, nil)
	vmsByState = prometheus.NewDesc("blixard_vms_health", "VMs by health.", []string{"health"}, nil)
	bootVMs    = prometheus.NewDesc("blixard_bootstrap_vms", "VMs in this boot of the node, by how far they are: waiting, starting, ready, failed, held.", []string{"state"}, nil)
	bootLimit  = prometheus.NewDesc("blixard_bootstrap_limit", "VMs that may be on their way up at once.", nil, nil)
	bootTime   = prometheus.NewDesc("blixard_bootstrap_duration_seconds", "Time that the bootstrap took, or has taken so far.", nil, nil)
	bootRuns   = prometheus.NewDesc("blixard_bootstrap_running", "Whether VMs wait for their turn after a boot.", nil, nil)
	safeMode   = prometheus.NewDesc("blixard_safe_mode", "Whether the node starts and deletes nothing.", nil, nil)
	differ     = prometheus.NewDesc("blixard_discrepancies", "Differences between the machine and the records at the last look, by what is done about them.", []string{"action", "state"}, nil)
	alerts     = prometheus.NewDesc("blixard_alert", "Alerts that hold, by kind and VM (none: the node's own).", []string{"kind", "vm"}, nil)
	parkedVMs  = prometheus.NewDesc("blixard_vms_parked", "VMs whose actor failed too often by a bug.", nil, nil)
)

// Describe tells which metrics there are.
func (s standing) Describe(to chan<- *prometheus.Desc) {
	to <- vmsByPhase
	to <- vmsByState
	for _, d := range []*prometheus.Desc{parkedVMs, bootVMs, bootLimit, bootTime, bootRuns, safeMode, differ, alerts} {
		to <- d
	}
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
	s.boot(to)
	s.machine(to)
	for _, a := range s.node.alerts() {
		to <- prometheus.MustNewConstMetric(alerts, prometheus.GaugeValue, 1, string(a.Kind), string(a.VM))
	}
}

// boot tells of the bootstrap.
func (s standing) boot(to chan<- prometheus.Metric) {
	b := s.node.env.booted.get()
	for state, n := range map[string]int{
		"waiting": len(b.Waiting), "starting": len(b.Starting), "ready": b.Ready, "failed": b.Failed, "held": len(b.Held),
	} {
		to <- prometheus.MustNewConstMetric(bootVMs, prometheus.GaugeValue, float64(n), state)
	}
	took := 0.0
	switch {
	case !b.EndedAt.IsZero():
		took = b.EndedAt.Sub(b.StartedAt).Seconds()
	case !b.StartedAt.IsZero():
		took = s.node.env.ports.Clock.Now().Sub(b.StartedAt).Seconds()
	}
	to <- prometheus.MustNewConstMetric(bootLimit, prometheus.GaugeValue, float64(b.Limit))
	to <- prometheus.MustNewConstMetric(bootTime, prometheus.GaugeValue, took)
	to <- prometheus.MustNewConstMetric(bootRuns, prometheus.GaugeValue, truth(b.State == "running"))
}

// machine tells of what the reconciler found.
func (s standing) machine(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(safeMode, prometheus.GaugeValue, truth(s.node.env.safe != ""))
	plan := s.node.env.plan.Load()
	if plan == nil {
		return
	}
	counts := map[[2]string]int{}
	for _, a := range plan.Actions {
		counts[[2]string{a.Do, a.State}]++
	}
	for of, n := range counts {
		to <- prometheus.MustNewConstMetric(differ, prometheus.GaugeValue, float64(n), of[0], of[1])
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
