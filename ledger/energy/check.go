package energy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

const (
	maxDeviceWatts   = 1e5 // no core, GiB or GPU draws more
	maxPUE           = 10  // the worst known data centres are below 4
	maxEmbodiedGrams = 1e6 // per hour: a server a day and more
)

// Check returns an error that names every coefficient which cannot be true.
func (c Coefficients) Check() error {
	problems := []error{c.Core.check("core")}
	for _, arch := range slices.Sorted(maps.Keys(c.CoreOf)) {
		problems = append(problems, c.CoreOf[arch].check(fmt.Sprintf("core of %.40q", arch)))
	}
	problems = append(problems, c.GPU.check("gpu"))
	for _, piece := range slices.Sorted(maps.Keys(c.GPUOf)) {
		name := fmt.Sprintf("gpu of %.40q", piece)
		if len(wordsOf(piece)) == 0 {
			problems = append(problems, fmt.Errorf("%s: want a piece of the kind with a letter or a digit", name))
		}
		problems = append(problems, c.GPUOf[piece].check(name))
	}
	problems = append(problems,
		checkRange("utilization", c.Utilization, 0, 1),
		checkRange("watts per GiB", c.GiBWatts, 0, maxDeviceWatts),
		checkRange("PUE", c.PUE, 1, maxPUE),
		checkRange("embodied grams per node-hour", c.EmbodiedGramsPerNodeHour, 0, maxEmbodiedGrams))
	return errors.Join(problems...)
}

// check returns an error if no device has such a power.
func (p Power) check(name string) error {
	if err := checkRange(name+": idle watts", p.Idle, 0, maxDeviceWatts); err != nil {
		return err
	}
	if err := checkRange(name+": max watts", p.Max, 0, maxDeviceWatts); err != nil {
		return err
	}
	if p.Max < p.Idle {
		return fmt.Errorf("%s: max watts: %v: want at least the idle watts, %v", name, p.Max, p.Idle)
	}
	return nil
}

// checkRange returns an error if a number is not in least..most.
func checkRange(name string, x, least, most float64) error {
	if !(x >= least && x <= most) {
		return fmt.Errorf("%s: %v: want %v to %v", name, x, least, most)
	}
	return nil
}
