package policy

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

// Accounting says how the energy of work is known, for the accounts of what work emitted.
type Accounting struct {
	// Coefficients are for work that nobody has measured. They have no field that cannot be true.
	Coefficients energy.Coefficients
	// Prometheus is the address of the Prometheus that has the measurements of Kepler. It is empty if
	// there is none.
	Prometheus string
}

// DefaultAccounting returns what applies where a policy says nothing.
func DefaultAccounting() Accounting { return Accounting{Coefficients: energy.Default()} }

// readAccounting reads how the energy of work is known. A field that is left out or cannot be read has
// its default value.
func (p *Policy) readAccounting() {
	p.Accounting = DefaultAccounting()
	spec := p.spec.Accounting
	if spec == nil {
		return
	}
	c := &p.Accounting.Coefficients
	readNumber(p, "accounting.pue", spec.PUE, &c.PUE, 1, 10)
	readNumber(p, "accounting.embodiedGramsPerNodeHour", spec.EmbodiedGramsPerNodeHour, &c.EmbodiedGramsPerNodeHour, 0, maxCoefficient)
	if spec.Prometheus != nil {
		if err := checkAddress(spec.Prometheus.Address); err != nil {
			p.Problems = append(p.Problems, fmt.Sprintf("spec.accounting.prometheus.address: %.80q: %v", spec.Prometheus.Address, err))
		} else {
			p.Accounting.Prometheus = spec.Prometheus.Address
		}
	}
	if spec.Power != nil {
		p.readPower(spec.Power, c)
	}
}

// maxCoefficient bounds each power and each rate. The schema admits a little less.
const maxCoefficient = 1e5

// readPower reads the model of a policy.
func (p *Policy) readPower(spec *v1alpha1.PowerModel, c *energy.Coefficients) {
	const path = "accounting.power."
	percent := c.Utilization * 100
	readNumber(p, path+"utilizationPercent", spec.UtilizationPercent, &percent, 0, 100)
	c.Utilization = percent / 100
	readNumber(p, path+"memoryWattsPerGiB", spec.MemoryWattsPerGiB, &c.GiBWatts, 0, maxCoefficient)
	if spec.Core != nil {
		c.Core, _ = p.readRange(path+"core", *spec.Core, c.Core)
	}
	if spec.GPU != nil {
		c.GPU, _ = p.readRange(path+"gpu", *spec.GPU, c.GPU)
	}
	for i, a := range spec.Architectures {
		if power, ok := p.readRange(fmt.Sprintf("%sarchitectures[%d]", path, i), a.PowerRange, energy.Power{}); ok {
			c.CoreOf[a.Name] = power
		}
	}
	for i, g := range spec.GPUs {
		if power, ok := p.readRange(fmt.Sprintf("%sgpus[%d]", path, i), g.PowerRange, energy.Power{}); ok {
			c.GPUOf[g.Kind] = power
		}
	}
}

// readRange reads the power of a device. It returns other and false if the power cannot be read.
func (p *Policy) readRange(field string, spec v1alpha1.PowerRange, other energy.Power) (energy.Power, bool) {
	power := energy.Power{Idle: -1, Max: -1}
	readNumber(p, field+".idleWatts", spec.IdleWatts, &power.Idle, 0, maxCoefficient)
	readNumber(p, field+".maxWatts", spec.MaxWatts, &power.Max, 0, maxCoefficient)
	switch {
	case power.Idle < 0 || power.Max < 0: // which is told, or left out
		return other, false
	case power.Idle > power.Max:
		p.Problems = append(p.Problems, fmt.Sprintf("spec.%s: idleWatts is %.12s, and maxWatts is %.12s: want an idleWatts that is at most maxWatts", field, spec.IdleWatts, spec.MaxWatts))
		return other, false
	default:
		return power, true
	}
}

// readNumber reads a number of the spec into a place that has the default value. Problems names a
// number that cannot be read.
func readNumber[Text ~string](p *Policy, field string, text Text, into *float64, least, most float64) {
	if text == "" {
		return
	}
	number, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(number >= least && number <= most) { // NaN is neither
		p.Problems = append(p.Problems, fmt.Sprintf("spec.%s: %.40q: want a number from %g to %g", field, text, least, most))
		return
	}
	*into = number
}

// checkAddress returns an error if a Prometheus cannot be asked at an address.
func checkAddress(address string) error {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return errors.New("want an address with http or https, without user, query or fragment, such as http://prometheus.monitoring:9090")
	}
	return nil
}
