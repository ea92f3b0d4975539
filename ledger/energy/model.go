package energy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"
)

const (
	// MaxWatts bounds the power of a pod, in watts: a data centre draws as much.
	MaxWatts = 1e7
	// maxRequest bounds what a pod requests of one resource. No node has as much.
	maxRequest = 1e6
	// typicalNodeCores are the cores of a node of unknown size. The host of a large cloud instance
	// has as many.
	typicalNodeCores = 96
	// serverGrams is what the making of a server emits, in gCO2eq, and serverHours is its life of
	// four years. Cloud Carbon Footprint: 1,000 to 1,230 kg for a server.
	serverGrams, serverHours = 1.2e6, 35040
)

// Default returns the coefficients that count where a policy sets none. All numbers are those of
// Cloud Carbon Footprint (github.com/cloud-carbon-footprint/ccf-coefficients, commit b0032d9, April
// 2026), which derives the power of cores from SPECpower. The power usage effectiveness is between
// that of the large clouds (1.1 to 1.2) and that of a data centre of one's own (1.58).
func Default() Coefficients {
	return Coefficients{
		Core:        Power{Idle: 0.7, Max: 3.5},                         // the mean of the x86 families of AWS: 0.74 and 3.5
		CoreOf:      map[string]Power{"arm64": {Idle: 0.47, Max: 1.69}}, // Graviton 2 to 4
		Utilization: 0.5,                                                // what Cloud Carbon Footprint assumes where nobody knows better
		GiBWatts:    0.392,
		GPU:         Power{Idle: 29, Max: 249}, // the mean of the kinds below
		GPUOf: map[string]Power{
			"T4":   {Idle: 8, Max: 71},
			"V100": {Idle: 35, Max: 306},
			"A100": {Idle: 46, Max: 407},
			"A10G": {Idle: 18, Max: 153},
			"P100": {Idle: 36, Max: 306},
		},
		PUE:                      1.2,
		EmbodiedGramsPerNodeHour: serverGrams / serverHours, // 34.2 g
	}
}

// Watts returns the estimated power of a pod at the meter of the data centre, in watts: in
// 0..MaxWatts, whatever the requests and the coefficients are.
func (c Coefficients) Watts(r Requests) float64 { return c.at(c.Utilization, r) }

// Low returns the power of a pod that does nothing, in watts.
func (c Coefficients) Low(r Requests) float64 { return c.at(0, r) }

// High returns the power of a pod that uses all that it requests, in watts.
func (c Coefficients) High(r Requests) float64 { return c.at(1, r) }

// EmbodiedGrams returns the share of a pod in the embodied emissions of its node, in gCO2eq. The
// share is that of the pod's cores in the cores of the node. nodeCores is 0 if nobody knows it.
func (c Coefficients) EmbodiedGrams(r Requests, nodeCores, hours float64) float64 {
	if !(nodeCores > 0) {
		nodeCores = typicalNodeCores
	}
	const lifetime = 1e6 // hours; no node lives longer
	share := min(within(r.Cores, maxRequest)/nodeCores, 1)
	return share * within(hours, lifetime) * within(c.EmbodiedGramsPerNodeHour, maxEmbodiedGrams)
}

// at returns the power of a pod at a utilization.
func (c Coefficients) at(utilization float64, r Requests) float64 {
	cores := within(r.Cores, maxRequest) * c.core(r.Arch).at(utilization)
	gpus := within(r.GPUs, maxRequest) * c.gpu(r.GPUKind).at(utilization)
	memory := within(r.GiB, maxRequest) * within(c.GiBWatts, maxDeviceWatts)
	return within((cores+gpus+memory)*max(1, within(c.PUE, maxPUE)), MaxWatts)
}

// core returns the power of a core of an architecture.
func (c Coefficients) core(arch string) Power {
	if power, ok := c.CoreOf[arch]; ok {
		return power
	}
	return c.Core
}

// gpu returns the power of a GPU of a kind.
func (c Coefficients) gpu(kind string) Power {
	if len(c.GPUOf) == 0 || kind == "" {
		return c.GPU
	}
	words := wordsOf(kind)
	longestFirst := func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) }
	for _, piece := range slices.SortedFunc(maps.Keys(c.GPUOf), longestFirst) {
		if hasInRow(words, wordsOf(piece)) {
			return c.GPUOf[piece]
		}
	}
	return c.GPU
}

// wordsOf returns the runs of letters and digits of a name, in lower case. A piece of a kind is
// made of whole words: T4 is no piece of T400.
func wordsOf(name string) []string {
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// hasInRow reports whether words contain other words, in a row. There is at least one other word.
func hasInRow(words, others []string) bool {
	for i := 0; len(others) > 0 && i+len(others) <= len(words); i++ {
		if slices.Equal(words[i:i+len(others)], others) {
			return true
		}
	}
	return false
}

// at returns the power of a device at a utilization.
func (p Power) at(utilization float64) float64 {
	idle := within(p.Idle, maxDeviceWatts)
	return idle + within(utilization, 1)*within(p.Max-idle, maxDeviceWatts)
}

// within returns a number in 0..most. What is not a number becomes 0.
func within(x, most float64) float64 {
	if !(x > 0) {
		return 0
	}
	return min(x, most)
}
