package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

// accountingOf returns what a policy says with this in its spec, and the problems of the policy.
func accountingOf(t *testing.T, spec *v1alpha1.Accounting) (Accounting, []string) {
	t.Helper()
	object := v1alpha1.Default()
	object.Spec.Accounting = spec
	p := New(t.Context(), object, "gridlatch-system", nil, t0)
	if err := p.Accounting.Coefficients.Check(); err != nil {
		t.Errorf("the coefficients cannot be true: %v", err)
	}
	return p.Accounting, p.Problems
}

func TestAPolicyThatSaysNothingOfEnergyHasTheModelOfGridlatch(t *testing.T) {
	for _, spec := range []*v1alpha1.Accounting{nil, {}, {Power: &v1alpha1.PowerModel{}}} {
		got, problems := accountingOf(t, spec)
		if diff := cmp.Diff(Accounting{Coefficients: energy.Default()}, got); diff != "" || len(problems) > 0 {
			t.Error(diff, problems)
		}
	}
	if diff := cmp.Diff(DefaultAccounting(), Abandoned().Accounting); diff != "" {
		t.Error("a policy that does not exist:", diff)
	}
}

func TestAPolicySetsEachCoefficient(t *testing.T) {
	got, problems := accountingOf(t, &v1alpha1.Accounting{
		Prometheus: &v1alpha1.PrometheusServer{Address: "http://prometheus.monitoring:9090"},
		PUE:        "1.58", EmbodiedGramsPerNodeHour: "20",
		Power: &v1alpha1.PowerModel{
			Core: &v1alpha1.PowerRange{IdleWatts: "1.04", MaxWatts: "4.16"}, GPU: &v1alpha1.PowerRange{IdleWatts: "0", MaxWatts: "500"},
			MemoryWattsPerGiB: "0.3", UtilizationPercent: "80",
			Architectures: []v1alpha1.ArchitecturePower{{Name: "riscv64", PowerRange: v1alpha1.PowerRange{IdleWatts: "0.1", MaxWatts: "0.5"}}},
			GPUs:          []v1alpha1.GPUPower{{Kind: "A100", PowerRange: v1alpha1.PowerRange{IdleWatts: "50", MaxWatts: "400"}}},
		},
	})
	want := Accounting{Prometheus: "http://prometheus.monitoring:9090", Coefficients: energy.Default()}
	c := &want.Coefficients
	c.PUE, c.EmbodiedGramsPerNodeHour, c.Utilization, c.GiBWatts = 1.58, 20, 0.8, 0.3
	c.Core, c.GPU = energy.Power{Idle: 1.04, Max: 4.16}, energy.Power{Idle: 0, Max: 500}
	c.CoreOf["riscv64"], c.GPUOf["A100"] = energy.Power{Idle: 0.1, Max: 0.5}, energy.Power{Idle: 50, Max: 400} // the other kinds stay
	if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
		t.Error(diff, problems)
	}
}

func TestCoefficientsThatCannotBeReadAreToldOfAndTheDefaultHolds(t *testing.T) {
	got, problems := accountingOf(t, &v1alpha1.Accounting{
		Prometheus: &v1alpha1.PrometheusServer{Address: "prometheus\x1b:9090"},
		PUE:        "0.5", EmbodiedGramsPerNodeHour: "NaN",
		Power: &v1alpha1.PowerModel{
			Core: &v1alpha1.PowerRange{IdleWatts: "5", MaxWatts: "4"}, GPU: &v1alpha1.PowerRange{MaxWatts: "5"},
			MemoryWattsPerGiB: "-1", UtilizationPercent: "Inf",
			Architectures: []v1alpha1.ArchitecturePower{{Name: "arm64", PowerRange: v1alpha1.PowerRange{IdleWatts: "1e99", MaxWatts: v1alpha1.Watts(strings.Repeat("9", 999))}}},
			GPUs:          []v1alpha1.GPUPower{{Kind: "A100", PowerRange: v1alpha1.PowerRange{IdleWatts: "low", MaxWatts: "400"}}},
		},
	})
	if diff := cmp.Diff(DefaultAccounting(), got); diff != "" {
		t.Error(diff)
	}
	want := []string{
		`spec.accounting.pue: "0.5": want a number from 1 to 10`,
		`spec.accounting.embodiedGramsPerNodeHour: "NaN": want a number from 0 to 100000`,
		`spec.accounting.prometheus.address: "prometheus\x1b:9090": want an address with http or https, without user, query or fragment, such as http://prometheus.monitoring:9090`,
		`spec.accounting.power.utilizationPercent: "Inf": want a number from 0 to 100`,
		`spec.accounting.power.memoryWattsPerGiB: "-1": want a number from 0 to 100000`,
		`spec.accounting.power.core: idleWatts is 5, and maxWatts is 4: want an idleWatts that is at most maxWatts`,
		`spec.accounting.power.architectures[0].idleWatts: "1e99": want a number from 0 to 100000`,
		`spec.accounting.power.architectures[0].maxWatts: "` + strings.Repeat("9", 40) + `": want a number from 0 to 100000`,
		`spec.accounting.power.gpus[0].idleWatts: "low": want a number from 0 to 100000`,
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
}
