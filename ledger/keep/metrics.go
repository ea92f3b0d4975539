package keep

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gridlatch/gridlatch/ledger"
)

// Metrics are the metrics of the ledger. Their labels are policies that exist, the empty name for
// all others, and locations that the policies or their forecasts know.
type Metrics struct {
	grams, avoided, added, units, failed *prometheus.CounterVec
	joules                               *prometheus.CounterVec
	perGram, intensity, oracle           *prometheus.GaugeVec
	unbooked, lastWrite                  prometheus.Gauge
	failures                             prometheus.Counter
	rows, rowFailures                    prometheus.Counter
	passes                               prometheus.Histogram
}

// NewMetrics makes the metrics of the ledger and registers them.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"policy", "location", "mode"}, more...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"policy"})
	}
	m := &Metrics{
		grams:   counter("gridlatch_emissions_grams_total", "Emissions of work that has ended, in gCO2eq, once the intensities over its run are known. By policy, location, mode and source of the energy.", "energy"),
		avoided: counter("gridlatch_emissions_avoided_grams_total", "Emissions that work avoided by waiting, in gCO2eq. With the mode Audit, the emissions that the work would have avoided. By policy, location, mode and source of the energy.", "energy"),
		added:   counter("gridlatch_emissions_added_grams_total", "Emissions that work added by waiting, in gCO2eq: losses. With the mode Audit, the emissions that the work would have added. By policy, location, mode and source of the energy.", "energy"),
		joules:  counter("gridlatch_energy_joules_total", "Energy of work that has ended, in joules. By policy, location, mode and source of the energy.", "energy"),
		failed:  counter("gridlatch_failed_energy_joules_total", "Energy of pods that failed, and of work that failed, in joules. By policy, location and mode."),
		units:   counter("gridlatch_work_units_total", "Functional units of work that has ended: completions, or what the work states. By policy, location and mode."),

		perGram:   gauge("gridlatch_work_per_gram", "Functional units per gCO2eq of the work that has ended in the last 30 days. By policy."),
		intensity: gauge("gridlatch_mean_intensity", "Mean intensity of the energy of the work that has ended in the last 30 days, in gCO2eq/kWh. By policy."),
		oracle:    gauge("gridlatch_oracle_share_percent", "Saving of the work that has ended in the last 30 days, in percent of the saving with perfect foresight within the same time. Negative if waiting made the work dirtier. By policy."),
		unbooked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gridlatch_ledger_unbooked_groups", Help: "Jobs and pods that have started and are not written to the ledger yet, because they run or have just ended.",
		}),
		lastWrite: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gridlatch_ledger_last_write_timestamp_seconds", Help: "When the ledger was last written without an error, or had nothing to write, in seconds since 1970.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridlatch_ledger_failures_total", Help: "Attempts to book what has ended that failed, and are made again.",
		}),
	}
	m.passes = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gridlatch_ledger_pass_seconds", Help: "Time to book all work that has ended, with the requests to the API server and to Prometheus.",
		Buckets: prometheus.ExponentialBuckets(.001, 4, 9),
	})
	m.rows = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gridlatch_ledger_rows_total", Help: "Rows that were written to the database of the ledger.",
	})
	m.rowFailures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gridlatch_ledger_database_failures_total", Help: "Attempts to write rows to the database of the ledger that failed, and are made again.",
	})
	registry.MustRegister(m.grams, m.avoided, m.added, m.joules, m.failed, m.units, m.perGram, m.intensity, m.oracle, m.unbooked, m.lastWrite, m.failures, m.rows, m.rowFailures, m.passes)
	return m
}

// count counts groups that were not counted before.
func (m *Metrics) count(all []ledger.Counted) {
	for _, c := range all {
		g, a := c.Group, c.Account
		labels := []string{g.Policy, g.Location, string(g.Mode)}
		withEnergy := append(labels[:len(labels):len(labels)], string(g.Energy))
		add(m.joules, a.Joules, withEnergy)
		add(m.failed, a.FailedJoules, labels)
		add(m.units, g.Units, labels)
		add(m.grams, a.Grams, withEnergy)
		saved := 0.0
		if a.IsCompared {
			saved = g.SavedGrams(a)
		}
		add(m.avoided, saved, withEnergy)
		add(m.added, -saved, withEnergy)
	}
}

// add adds to a counter, which never goes down. So emissions at negative intensities do not count.
func add(counter *prometheus.CounterVec, amount float64, labels []string) {
	one := counter.WithLabelValues(labels...)
	if amount > 0 {
		one.Add(amount)
	}
}

// show shows the sums of the last days by policy, and how much is not booked.
func (m *Metrics) show(recent map[string]ledger.Sum, unbooked int) {
	for _, gauge := range []*prometheus.GaugeVec{m.perGram, m.intensity, m.oracle} {
		gauge.Reset()
	}
	for policy, sum := range recent {
		if sum.Grams > 0 {
			m.perGram.WithLabelValues(policy).Set(sum.Units / sum.Grams)
		}
		if mean, ok := sum.MeanIntensity(); ok {
			m.intensity.WithLabelValues(policy).Set(mean)
		}
		if share, ok := sum.OracleShare(); ok {
			m.oracle.WithLabelValues(policy).Set(share)
		}
	}
	m.unbooked.Set(float64(unbooked))
}

// WroteRows counts what an attempt to write rows to the database came to.
func (m *Metrics) WroteRows(written int, err error) {
	m.rows.Add(float64(written))
	if err != nil {
		m.rowFailures.Inc()
	}
}

// written notes that everything is written.
func (m *Metrics) written(now time.Time) { m.lastWrite.Set(float64(now.Unix())) }
