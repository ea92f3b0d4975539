package energy

import (
	"math"
	"strings"
	"testing"
)

func isNear(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(b)) }

func TestThePowerOfAPodFollowsItsRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		requests        Requests
		low, mean, high float64
	}{
		"nothing":                 {Requests{}, 0, 0, 0},
		"a core of x86":           {Requests{Cores: 1, Arch: "amd64"}, 0.7 * 1.2, 2.1 * 1.2, 3.5 * 1.2},
		"a core of an unknown":    {Requests{Cores: 1}, 0.7 * 1.2, 2.1 * 1.2, 3.5 * 1.2},
		"two cores of arm64":      {Requests{Cores: 2, Arch: "arm64"}, 2 * 0.47 * 1.2, 2 * 1.08 * 1.2, 2 * 1.69 * 1.2},
		"memory":                  {Requests{GiB: 10}, 3.92 * 1.2, 3.92 * 1.2, 3.92 * 1.2},
		"an A100":                 {Requests{GPUs: 1, GPUKind: "NVIDIA-A100-SXM4-80GB"}, 46 * 1.2, 226.5 * 1.2, 407 * 1.2},
		"a T4":                    {Requests{GPUs: 1, GPUKind: "Tesla-T4"}, 8 * 1.2, 39.5 * 1.2, 71 * 1.2},
		"an A10G, and no A100":    {Requests{GPUs: 1, GPUKind: "NVIDIA-A10G"}, 18 * 1.2, 85.5 * 1.2, 153 * 1.2},
		"a T400, and no T4":       {Requests{GPUs: 1, GPUKind: "NVIDIA-T400"}, 29 * 1.2, 139 * 1.2, 249 * 1.2},
		"a GPU of an unknown":     {Requests{GPUs: 2}, 58 * 1.2, 278 * 1.2, 498 * 1.2},
		"cores, memory and a GPU": {Requests{Cores: 4, GiB: 16, GPUs: 1, GPUKind: "Tesla-V100-SXM2-16GB"}, (2.8 + 6.272 + 35) * 1.2, (8.4 + 6.272 + 170.5) * 1.2, (14 + 6.272 + 306) * 1.2},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			if low, mean, high := c.Low(tt.requests), c.Watts(tt.requests), c.High(tt.requests); !isNear(low, tt.low) || !isNear(mean, tt.mean) || !isNear(high, tt.high) {
				t.Errorf("%v, %v, %v W, want %v, %v, %v", low, mean, high, tt.low, tt.mean, tt.high)
			}
		})
	}
}

func TestTheLongestPieceOfTheKindCounts(t *testing.T) {
	c := Default()
	c.GPUOf["A100-PCIE"] = Power{Idle: 30, Max: 250}
	if got := c.High(Requests{GPUs: 1, GPUKind: "NVIDIA-A100-PCIE-40GB"}); !isNear(got, 250*1.2) {
		t.Errorf("%v W", got)
	}
	c.GPUOf["---"] = Power{Max: 1}
	if got := c.High(Requests{GPUs: 1, GPUKind: "---"}); !isNear(got, 249*1.2) {
		t.Errorf("a piece without a letter counts: %v W", got)
	}
}

func TestTheEmbodiedEmissionsAreThoseOfTheShareOfTheNode(t *testing.T) {
	c := Default()
	for _, tt := range []struct {
		cores, nodeCores, hours, want float64
	}{
		{4, 16, 2, 2 * 1.2e6 / 35040 / 4},
		{1, 0, 1, 1.2e6 / 35040 / 96},
		{1, math.NaN(), 1, 1.2e6 / 35040 / 96},
		{32, 16, 1, 1.2e6 / 35040},
		{-1, 16, 1, 0},
		{1, 16, math.Inf(-1), 0},
	} {
		if got := c.EmbodiedGrams(Requests{Cores: tt.cores}, tt.nodeCores, tt.hours); !isNear(got, tt.want) {
			t.Errorf("%v of %v cores for %v h: %v g, want %v", tt.cores, tt.nodeCores, tt.hours, got, tt.want)
		}
	}
}

func TestHostileNumbersGiveAPower(t *testing.T) {
	hostile := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e308, 5}
	for _, x := range hostile {
		for _, y := range hostile {
			for _, c := range []Coefficients{Default(), {}, {Core: Power{x, y}, GPU: Power{y, x}, Utilization: y, GiBWatts: x, PUE: y, EmbodiedGramsPerNodeHour: x}} {
				r := Requests{Cores: x, GiB: y, GPUs: x, GPUKind: "\x00"}
				for _, got := range []float64{c.Low(r), c.Watts(r), c.High(r)} {
					if !(got >= 0 && got <= MaxWatts) {
						t.Fatalf("%v W of %+v by %+v", got, r, c)
					}
				}
				if got := c.EmbodiedGrams(r, y, x); !(got >= 0) || math.IsInf(got, 0) {
					t.Fatalf("%v g of %+v by %+v", got, r, c)
				}
			}
		}
	}
}

func TestARequestThatIsNotANumberIsNone(t *testing.T) {
	if !(Requests{Cores: math.NaN(), GiB: -1}).IsZero() || (Requests{GPUs: 1}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestCheckNamesEveryBadCoefficient(t *testing.T) {
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Coefficients){
		`core: idle watts: -1: want 0 to 100000`:                         func(c *Coefficients) { c.Core.Idle = -1 },
		`core: max watts: 0.5: want at least the idle watts, 0.7`:        func(c *Coefficients) { c.Core.Max = 0.5 },
		`core of "riscv64": max watts: NaN: want 0 to 100000`:            func(c *Coefficients) { c.CoreOf["riscv64"] = Power{0, math.NaN()} },
		`gpu: max watts: +Inf: want 0 to 100000`:                         func(c *Coefficients) { c.GPU.Max = math.Inf(1) },
		`gpu of "-": want a piece of the kind with a letter or a digit`:  func(c *Coefficients) { c.GPUOf["-"] = Power{1, 2} },
		`utilization: 50: want 0 to 1`:                                   func(c *Coefficients) { c.Utilization = 50 },
		`watts per GiB: -0.1: want 0 to 100000`:                          func(c *Coefficients) { c.GiBWatts = -0.1 },
		`PUE: 0.9: want 1 to 10`:                                         func(c *Coefficients) { c.PUE = 0.9 },
		`embodied grams per node-hour: 1e+09: want 0 to 1e+06`:           func(c *Coefficients) { c.EmbodiedGramsPerNodeHour = 1e9 },
		"utilization: 2: want 0 to 1\nPUE: 0: want 1 to 10":              func(c *Coefficients) { c.Utilization, c.PUE = 2, 0 },
		`gpu of "A100": max watts: 1: want at least the idle watts, 200`: func(c *Coefficients) { c.GPUOf["A100"] = Power{200, 1} },
	} {
		c := Default()
		change(&c)
		if err := c.Check(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, strings.ReplaceAll(want, "\n", " and "))
		}
	}
}
