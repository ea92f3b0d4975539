package nodepool

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	// A price rises by whole steps of priceStep percent, so that it changes seldom.
	priceStep, mostPercent = 5, 100
	// maxArchitectures bounds how many architectures have a power factor.
	maxArchitectures = 20
)

// priceWish is what the annotations of a pool ask for of its prices.
type priceWish struct {
	percents scale[int32] // empty without the wish
	// powers are the power factors by architecture. If there are none, all nodes of the pool are alike.
	powers  map[string]float64
	mistake error // what cannot be used
}

// readPrice reads what the annotations of a pool ask for of its prices. powers are the power factors by
// architecture.
func readPrice(o *unstructured.Unstructured, powers map[string]float64) (w priceWish) {
	if text, ok := o.GetAnnotations()[v1alpha1.CarbonPriceAnnotation]; ok {
		w.percents, w.mistake = parseScale(text, parsePercent)
		w.mistake = about(v1alpha1.CarbonPriceAnnotation, text, w.mistake)
	}
	w.powers = powers
	return w
}

// parsePowers reads power factors by architecture, such as amd64=1,arm64=0.6.
func parsePowers(text string) (map[string]float64, error) {
	items := strings.Split(text, ",")
	if len(items) > maxArchitectures {
		return nil, fmt.Errorf("%d architectures: want at most %d", len(items), maxArchitectures)
	}
	powers := map[string]float64{}
	for _, item := range items {
		name, factor, _ := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		power, err := v1alpha1.ParsePowerFactor(strings.TrimSpace(factor))
		switch {
		case err != nil:
			return nil, err
		case name == "" || len(validation.IsValidLabelValue(name)) > 0:
			return nil, errors.New("want architectures and power factors, such as amd64=1,arm64=0.6")
		case powers[name] > 0:
			return nil, fmt.Errorf("want the architecture %s once", name)
		}
		powers[name] = power
	}
	return powers, nil
}

// leastPower returns the lowest power factor of the architectures that a pool can have. possible are
// these architectures, empty if the pool does not say.
func leastPower(powers map[string]float64, possible []string) float64 {
	var factors []float64
	for name, power := range powers {
		if len(possible) == 0 || slices.Contains(possible, name) {
			factors = append(factors, power)
		}
	}
	if len(factors) == 0 {
		return 1
	}
	return slices.Min(factors)
}

// dearer returns the architectures whose nodes look dearer while the grid is dirty: those that take more
// power than another one. isAll says that all nodes of the pool do. Without both, no node of the pool
// does.
func (p *pool) dearer() (architectures []string, isAll bool) {
	if len(p.price.powers) == 0 {
		return nil, true
	}
	least, possible := leastPower(p.price.powers, nil), p.labels[corev1.LabelArchStable]
	for _, name := range slices.Sorted(maps.Keys(p.price.powers)) {
		if p.price.powers[name] > least && (len(possible) == 0 || slices.Contains(possible, name)) {
			architectures = append(architectures, name)
		}
	}
	return architectures, false
}

// asksPrice reports whether nodes of the pool are to look dearer while the grid is dirty.
func (p *pool) asksPrice() bool { return p.has(v1alpha1.CarbonPriceAnnotation) }
