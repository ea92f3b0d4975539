package ceiling

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
)

// Metrics of ceilings: our own, by target, and those of the operator, whose
// label app is the name of a CarbonAwareKedaScaler. Its namespace is new.
type Metrics struct {
	ceiling *prometheus.GaugeVec
	changes *prometheus.CounterVec
	errors  *prometheus.CounterVec
	reverts *prometheus.CounterVec

	reconciles      *prometheus.CounterVec
	reconcileErrors *prometheus.CounterVec
	intensity       *prometheus.GaugeVec
	defaultMax      *prometheus.GaugeVec
	max             *prometheus.GaugeVec
	ecoModeOff      *prometheus.CounterVec

	mu   sync.Mutex
	apps map[ref]types.NamespacedName // the scaler whose series a target has
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	const app = "carbon_aware_keda_scaler_"
	m := &Metrics{
		ceiling: gauge("gridlatch_ceiling_replicas", "Ceiling in force for a ScaledObject or ScaledJob; 0 if it is paused for it.", "kind", "namespace", "name"),
		changes: counter("gridlatch_ceiling_changes_total", "Ceilings that were set, raised or lowered.", "kind", "direction"),
		errors:  counter("gridlatch_ceiling_errors_total", "Writes of a ceiling that failed and are tried again.", "kind"),
		reverts: counter("gridlatch_ceiling_reverts_total", "Ceilings that somebody else has undone.", "kind"),

		reconciles:      counter(app+"reconciles_total", "Looks at a CarbonAwareKedaScaler.", "app", "namespace"),
		reconcileErrors: counter(app+"reconcile_errors_total", "Targets that could not be changed.", "app", "namespace"),
		intensity:       gauge(app+"carbon_intensity", "Carbon intensity now, in gCO2eq/kWh.", "app", "namespace"),
		defaultMax:      gauge(app+"default_max_replicas", "What holds while eco mode is off.", "app", "namespace"),
		max:             gauge(app+"max_replicas", "What holds now.", "app", "namespace"),
		ecoModeOff:      counter(app+"eco_mode_off", "Looks at a CarbonAwareKedaScaler, by whether eco mode was off: code 1, or on: code 0.", "app", "namespace", "code"),
		apps:            map[ref]types.NamespacedName{},
	}
	registry.MustRegister(m.ceiling, m.changes, m.errors, m.reverts,
		m.reconciles, m.reconcileErrors, m.intensity, m.defaultMax, m.max, m.ecoModeOff)
	return m
}

// changed counts a change that was made.
func (m *Metrics) changed(r ref, c *change) {
	direction := "same"
	switch {
	case c.lowered:
		direction = "lower"
	case c.raised:
		direction = "higher"
	case c.ceiling == nil:
		direction = "none"
	}
	m.changes.WithLabelValues(string(r.kind), direction).Inc()
	m.show(r, c.ceiling)
}

// show sets the ceiling in force.
func (m *Metrics) show(r ref, ceiling *int32) {
	if ceiling == nil {
		m.ceiling.DeleteLabelValues(string(r.kind), r.namespace, r.name)
		return
	}
	m.ceiling.WithLabelValues(string(r.kind), r.namespace, r.name).Set(float64(*ceiling))
}

func (m *Metrics) failed(k kind) { m.errors.WithLabelValues(string(k)).Inc() }

// reverted counts one more round of a fight.
func (m *Metrics) reverted(k kind, fresh bool) {
	if fresh {
		m.reverts.WithLabelValues(string(k)).Inc()
	}
}

// reconciled counts a look at a scaler.
func (m *Metrics) reconciled(s *carbonaware.CarbonAwareKedaScaler) {
	m.reconciles.WithLabelValues(s.Name, s.Namespace).Inc()
	now := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := m.apps[targetOf(s)]; ok && before != now {
		m.drop(before) // another has the target now
	}
	m.apps[targetOf(s)] = now
}

// observe sets what a scaler has come to; max is nil if it could not be set.
func (m *Metrics) observe(s *carbonaware.CarbonAwareKedaScaler, e *eco, max *int32) {
	code := "0"
	if e.off != "" {
		code = "1"
	}
	m.ecoModeOff.WithLabelValues(s.Name, s.Namespace, code).Inc()
	if e.known {
		m.intensity.WithLabelValues(s.Name, s.Namespace).Set(e.intensity)
	} else {
		m.intensity.DeleteLabelValues(s.Name, s.Namespace)
	}
	if max != nil {
		m.defaultMax.WithLabelValues(s.Name, s.Namespace).Set(float64(s.Spec.EcoModeOff.MaxReplicas))
		m.max.WithLabelValues(s.Name, s.Namespace).Set(float64(*max))
	}
}

// forget drops what is about a target that has no claim, and about its scaler.
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
