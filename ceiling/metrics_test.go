package ceiling

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTheSeriesOfAScalerGoWithItsClaim(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	first, second := scaler("shop", "first", 1), scaler("shop", "second", 2)
	second.Spec.KedaTargetRef = first.Spec.KedaTargetRef
	one := int32(1)
	m.reconciled(first)
	m.observe(first, &ecoState{isKnown: true}, &one)
	m.reconciled(second) // the first was deleted, and the target is that of the second
	m.observe(second, &ecoState{isKnown: true}, &one)
	m.forget(targetOf(second))
	const kinds, countersOfKind = 2, 2 // failures and reverts start at zero
	if n, err := testutil.GatherAndCount(registry); err != nil || n != kinds*countersOfKind+len(triggerStates()) {
		t.Errorf("%d series are left, %v", n, err)
	}
}
