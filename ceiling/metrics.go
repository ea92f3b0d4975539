package ceiling

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
)

// Metrics are the metrics of ceilings: ours, by target, and those of the operator. Their label app
// is the name of a CarbonAwareKedaScaler. Their label namespace is new.
type Metrics struct {
	ceiling *prometheus.GaugeVec
	changes *prometheus.CounterVec
	errors  *prometheus.CounterVec
	reverts *prometheus.CounterVec

	triggers *prometheus.GaugeVec

	reconciles      *prometheus.CounterVec
	reconcileErrors *prometheus.CounterVec
	intensity       *prometheus.GaugeVec
	defaultMax      *prometheus.GaugeVec
	max             *prometheus.GaugeVec
	ecoModeOff      *prometheus.CounterVec

	mu     sync.Mutex
	states map[ref]triggerState         // of triggers that are carried out
	apps   map[ref]types.NamespacedName // the scaler that the series are about, by target
}

// NewMetrics returns metrics that are registered.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	const app = "carbon_aware_keda_scaler_"
	m := &Metrics{
		ceiling: gauge("gridlatch_ceiling_replicas", "Ceiling in force of a ScaledObject or ScaledJob, in replicas. 0 means that the object is paused for the ceiling.", "kind", "namespace", "name"),
		changes: counter("gridlatch_ceiling_changes_total", "Changes of ceilings that were made, by direction: higher, lower, same or none.", "kind", "direction"),
		errors:  counter("gridlatch_ceiling_errors_total", "Changes of ceilings that failed and are tried again.", "kind"),
		reverts: counter("gridlatch_ceiling_reverts_total", "Changes of ceilings that somebody else has undone.", "kind"),

		reconciles:      counter(app+"reconciles_total", "How often a CarbonAwareKedaScaler was looked at.", "app", "namespace"),
		reconcileErrors: counter(app+"reconcile_errors_total", "How often the target of a CarbonAwareKedaScaler could not be changed.", "app", "namespace"),
		intensity:       gauge(app+"carbon_intensity", "Carbon intensity now, in gCO2eq/kWh.", "app", "namespace"),
		defaultMax:      gauge(app+"default_max_replicas", "maxReplicas while eco mode is off.", "app", "namespace"),
		max:             gauge(app+"max_replicas", "maxReplicas now.", "app", "namespace"),
		ecoModeOff:      counter(app+"eco_mode_off", "How often a CarbonAwareKedaScaler was looked at, by code: 1 if eco mode was off, 0 if it was on.", "app", "namespace", "code"),
		apps:            map[ref]types.NamespacedName{},

		triggers: gauge("gridlatch_triggers", "Triggers of the type carbon-intensity in ScaledObjects and ScaledJobs, by what the grid is for them: clean, dirty or unknown. An unknown grid counts as clean.", "state"),
		states:   map[ref]triggerState{},
	}
	for _, k := range []kind{scaledObject, scaledJob} { // an alert sees the first failure
		m.errors.WithLabelValues(string(k))
		m.reverts.WithLabelValues(string(k))
	}
	for _, state := range triggerStates() {
		m.triggers.WithLabelValues(string(state))
	}
	registry.MustRegister(m.ceiling, m.changes, m.errors, m.reverts, m.triggers,
		m.reconciles, m.reconcileErrors, m.intensity, m.defaultMax, m.max, m.ecoModeOff)
	return m
}

// changed counts a change that was made.
func (m *Metrics) changed(r ref, c *change) {
	direction := "same"
	switch {
	case c.isLowered:
		direction = "lower"
	case c.isRaised:
		direction = "higher"
	case c.ceiling == nil:
		direction = "none"
	}
	m.changes.WithLabelValues(string(r.kind), direction).Inc()
	m.show(r, c.ceiling)
}

// show sets the ceiling in force, nil for none.
func (m *Metrics) show(r ref, ceiling *int32) {
	if ceiling == nil {
		m.ceiling.DeleteLabelValues(string(r.kind), r.namespace, r.name)
		return
	}
	m.ceiling.WithLabelValues(string(r.kind), r.namespace, r.name).Set(float64(*ceiling))
}

// countTrigger counts the trigger of a target by its state. A trigger that is not carried out does
// not count.
func (m *Metrics) countTrigger(r ref, state triggerState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.states[r]
	if state == before {
		return
	}
	delete(m.states, r)
	if slices.Contains(triggerStates(), before) {
		m.triggers.WithLabelValues(string(before)).Dec()
	}
	if slices.Contains(triggerStates(), state) {
		m.states[r] = state
		m.triggers.WithLabelValues(string(state)).Inc()
	}
}

func (m *Metrics) failed(k kind) { m.errors.WithLabelValues(string(k)).Inc() }

// reverted counts a change that somebody else has undone.
func (m *Metrics) reverted(k kind) { m.reverts.WithLabelValues(string(k)).Inc() }

// reconciled counts a look at a scaler.
func (m *Metrics) reconciled(s *carbonaware.CarbonAwareKedaScaler) {
	m.reconciles.WithLabelValues(s.Name, s.Namespace).Inc()
	now := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.apps[targetOf(s)]; ok && before != now {
		m.drop(before) // another scaler has the target now
	}
	m.apps[targetOf(s)] = now
}

// observe sets what a scaler has come to. max is nil if the ceiling could not be set.
func (m *Metrics) observe(s *carbonaware.CarbonAwareKedaScaler, e *ecoState, max *int32) {
	code := "0"
	if e.offReason != "" {
		code = "1"
	}
	m.ecoModeOff.WithLabelValues(s.Name, s.Namespace, code).Inc()
	if e.isKnown {
		m.intensity.WithLabelValues(s.Name, s.Namespace).Set(e.intensity)
	} else {
		m.intensity.DeleteLabelValues(s.Name, s.Namespace)
	}
	if max != nil {
		m.defaultMax.WithLabelValues(s.Name, s.Namespace).Set(float64(s.Spec.EcoModeOff.MaxReplicas))
		m.max.WithLabelValues(s.Name, s.Namespace).Set(float64(*max))
	}
}

// forget drops the series of a target that nobody claims, and of its scaler.
func (m *Metrics) forget(r ref) {
	m.show(r, nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	scaler, ok := m.apps[r]
	if !ok {
		return
	}
	delete(m.apps, r)
	m.drop(scaler)
}

// drop drops all series of a scaler.
func (m *Metrics) drop(scaler types.NamespacedName) {
	labels := prometheus.Labels{"app": scaler.Name, "namespace": scaler.Namespace}
	for _, vec := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.reconciles, m.reconcileErrors, m.intensity, m.defaultMax, m.max, m.ecoModeOff} {
		vec.DeletePartialMatch(labels)
	}
}
