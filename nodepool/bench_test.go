package nodepool

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// BenchmarkTheGridTurnsForManyRankedPools is a look at every pool after a new forecast, by which the order of all turns.
// Nothing is written.
func BenchmarkTheGridTurnsForManyRankedPools(b *testing.B) {
	for _, pools := range []int{20, 200, 1000} {
		b.Run(fmt.Sprint(pools), func(b *testing.B) {
			w := newWorld(b)
			object := v1alpha1.Default()
			for i := range 3 {
				name := fmt.Sprint("at-", i)
				object.Spec.Locations = append(object.Spec.Locations, v1alpha1.Location{Name: name, NodeSelector: map[string]string{region: name}})
			}
			now := w.clock.Now()
			slots := []forecast.Slot{{Start: now.Add(-time.Hour), End: now.Add(48 * time.Hour), Intensity: 300}}
			series := map[string]*forecast.Series{}
			for i := range 3 {
				slots[0].Intensity = float64(100 + 100*i)
				series[fmt.Sprint("at-", i)] = forecast.NewSeries(slots)
			}
			if err := w.Store.Offer(forecast.Source{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"}, forecast.Document{Series: series, Issued: now, Elements: 3}, now); err != nil {
				b.Fatal(err)
			}
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				b.Fatal(err)
			}
			policies := policy.Policies{Clock: w.clock, Namespace: "gridlatch-system", Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(object).Build()}
			w.Policies = policy.Levels{Policies: policies, Store: w.Store}
			w.levels.Of = w.Policies.Level
			var names []string
			for i := range pools {
				o := nodePool(fmt.Sprint("pool-", i), auto(v1alpha1.PowerFactorKey, fmt.Sprint(1+float64(i%7)/10)), in(fmt.Sprint("at-", i%3)))
				if err := w.pools.Fill(newPool(o)); err != nil {
					b.Fatal(err)
				}
				names = append(names, o.GetName())
			}
			for b.Loop() {
				w.onForecast(carbonIntensity)
				for _, name := range names {
					v, mistakes, err := w.judge(b.Context(), w.pool(name), now)
					if err != nil || len(mistakes) > 0 || v.weight.weight == 0 {
						b.Fatal(v, mistakes, err)
					}
				}
			}
		})
	}
}
