package ledger

import (
	"fmt"
	"math"
	"time"

	"github.com/gridlatch/gridlatch/ledger/energy"
)

// columns is the encoding of groups and of what their accounts know: an array for each field, in
// the order of the groups. Compressed, that is half as long as an object for each group.
type columns struct {
	UID           []string        `json:"uid"`
	Kind          []string        `json:"kind"`
	Namespace     []string        `json:"namespace"`
	Name          []string        `json:"name"`
	Owner         []string        `json:"owner"`
	Policy        []string        `json:"policy"`
	Mode          []Mode          `json:"mode"`
	Source        []string        `json:"source"`
	Location      []string        `json:"location"`
	OtherLocation []string        `json:"otherLocation"`
	Energy        []energy.Source `json:"energy"`
	SeenEnd       []bool          `json:"seenEnd"`
	Failed        []bool          `json:"failed"`
	IsCounted     []bool          `json:"isCounted"`
	// Times are in seconds since another time: Ended since the group before, Arrived and
	// LatestStart since Ended, Released since Arrived. Wait is what the wait is longer than the
	// time from Arrived to Released.
	Ended       []float64  `json:"ended"`
	Arrived     []float64  `json:"arrived"`
	LatestStart []*float64 `json:"latestStart"`
	Released    []float64  `json:"released"`
	Wait        []float64  `json:"wait"`

	Units         []float64 `json:"units"`
	EmbodiedGrams []float64 `json:"embodiedGrams"`
	CoreHours     []float64 `json:"coreHours"`

	// Pauses and RestartCost, in seconds, are left out if no group was paused.
	Pauses      []int     `json:"pauses,omitempty"`
	RestartCost []float64 `json:"restartCost,omitempty"`

	// Steps counts the steps of each group. The steps of all groups follow each other. A step
	// begins some seconds after the end of the step before, the first after Released.
	Steps       []int     `json:"steps"`
	Begin       []float64 `json:"begin"`
	Seconds     []float64 `json:"seconds"`
	Watts       []float64 `json:"watts"`
	FailedWatts []float64 `json:"failedWatts"`

	// The emissions are null if they are not known. They have seven digits, which are enough where
	// the intensities are not at hand any more.
	Grams       []*float32 `json:"grams"`
	FailedGrams []float32  `json:"failedGrams"`
	OtherGrams  []*float32 `json:"otherGrams"`
	OracleGrams []*float32 `json:"oracleGrams"`
}

// add adds a clean group. last is the end of the group before.
func (c *columns) add(e *entry, last time.Time) {
	g, a := e.group, e.account
	c.UID, c.Kind, c.Namespace, c.Name = append(c.UID, g.UID), append(c.Kind, g.Kind), append(c.Namespace, g.Namespace), append(c.Name, g.Name)
	c.Owner, c.Policy, c.Mode = append(c.Owner, g.Owner), append(c.Policy, g.Policy), append(c.Mode, g.Mode)
	c.Source, c.Location, c.OtherLocation = append(c.Source, g.Source), append(c.Location, g.Location), append(c.OtherLocation, g.OtherLocation)
	c.Energy, c.SeenEnd, c.Failed = append(c.Energy, g.Energy), append(c.SeenEnd, g.SeenEnd), append(c.Failed, g.Failed)
	c.IsCounted = append(c.IsCounted, e.isCounted)
	c.Ended, c.Arrived = append(c.Ended, since(g.Ended, last)), append(c.Arrived, since(g.Arrived, g.Ended))
	c.Released, c.Wait = append(c.Released, since(g.Released, g.Arrived)), append(c.Wait, (g.Wait-g.Released.Sub(g.Arrived)).Seconds())
	latest := since(g.LatestStart, g.Ended)
	c.LatestStart = append(c.LatestStart, known(latest, !g.LatestStart.IsZero()))
	c.Units, c.EmbodiedGrams, c.CoreHours = append(c.Units, g.Units), append(c.EmbodiedGrams, g.EmbodiedGrams), append(c.CoreHours, g.CoreHours)
	c.addPauses(g.Pauses, g.RestartCost)
	c.Steps = append(c.Steps, len(g.Steps))
	before := g.Released
	for _, s := range g.Steps {
		c.Begin, c.Seconds = append(c.Begin, since(s.Start, before)), append(c.Seconds, since(s.End, s.Start))
		c.Watts, c.FailedWatts = append(c.Watts, s.Watts), append(c.FailedWatts, s.FailedWatts)
		before = s.End
	}
	c.Grams, c.FailedGrams = append(c.Grams, known(float32(a.Grams), a.IsKnown)), append(c.FailedGrams, float32(a.FailedGrams))
	c.OtherGrams = append(c.OtherGrams, known(float32(a.OtherGrams), a.IsCompared))
	c.OracleGrams = append(c.OracleGrams, known(float32(a.OracleGrams), a.HasOracle))
}

// addPauses adds what is known of the pauses of the group whose UID was added last. The groups before the
// first that was paused had none.
func (c *columns) addPauses(pauses int, restartCost time.Duration) {
	if pauses == 0 && restartCost == 0 && c.Pauses == nil {
		return
	}
	for len(c.Pauses) < len(c.UID)-1 {
		c.Pauses, c.RestartCost = append(c.Pauses, 0), append(c.RestartCost, 0)
	}
	c.Pauses, c.RestartCost = append(c.Pauses, pauses), append(c.RestartCost, restartCost.Seconds())
}

// check returns an error if the columns are not equally long, or too long.
func (c *columns) check() error {
	groups, steps := len(c.UID), len(c.Begin)
	if groups > maxElements || steps > MaxSteps*maxElements {
		return fmt.Errorf("%d groups and %d steps: want at most %d and %d", groups, steps, maxElements, MaxSteps*maxElements)
	}
	for _, length := range []int{len(c.Kind), len(c.Namespace), len(c.Name), len(c.Owner), len(c.Policy), len(c.Mode), len(c.Source), len(c.Location),
		len(c.OtherLocation), len(c.Energy), len(c.SeenEnd), len(c.Failed), len(c.IsCounted), len(c.Ended), len(c.Arrived), len(c.LatestStart),
		len(c.Released), len(c.Wait), len(c.Units), len(c.EmbodiedGrams), len(c.CoreHours), len(c.Steps),
		len(c.Grams), len(c.FailedGrams), len(c.OtherGrams), len(c.OracleGrams)} {
		if length != groups {
			return fmt.Errorf("a field has %d values for %d groups", length, groups)
		}
	}
	if err := c.checkPauses(); err != nil {
		return err
	}
	counted := 0
	for _, n := range c.Steps {
		if n < 0 || n > MaxSteps {
			return fmt.Errorf("a group has %d steps: want at most %d", n, MaxSteps)
		}
		counted += n
	}
	for _, length := range []int{len(c.Begin), len(c.Seconds), len(c.Watts), len(c.FailedWatts)} {
		if length != counted {
			return fmt.Errorf("a field has %d values for %d steps", length, counted)
		}
	}
	return nil
}

// checkPauses returns an error if the pauses are not those of all groups, or of none.
func (c *columns) checkPauses() error {
	if pauses, costs := len(c.Pauses), len(c.RestartCost); pauses != costs || pauses != 0 && pauses != len(c.UID) {
		return fmt.Errorf("%d pauses and %d costs of restarts for %d groups", pauses, costs, len(c.UID))
	}
	return nil
}

// decode returns the groups that encodeGroups has encoded, for the same origin. No columns have no
// groups.
func (c *columns) decode(origin time.Time) ([]*entry, error) {
	if c == nil {
		return nil, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.entries(origin), nil
}

// entries returns the groups of columns that are checked. last is the end of the group before.
func (c *columns) entries(last time.Time) []*entry {
	entries := make([]*entry, len(c.UID))
	step := 0
	for i := range entries {
		g := Group{
			UID: c.UID[i], Kind: c.Kind[i], Namespace: c.Namespace[i], Name: c.Name[i], Owner: c.Owner[i], Policy: c.Policy[i], Mode: c.Mode[i],
			Source: c.Source[i], Location: c.Location[i], OtherLocation: c.OtherLocation[i], Energy: c.Energy[i],
			SeenEnd: c.SeenEnd[i], Failed: c.Failed[i], Units: c.Units[i], EmbodiedGrams: c.EmbodiedGrams[i], CoreHours: c.CoreHours[i],
		}
		g.Ended = after(last, c.Ended[i])
		g.Arrived = after(g.Ended, c.Arrived[i])
		g.Released = after(g.Arrived, c.Released[i])
		g.Wait = g.Released.Sub(g.Arrived) + duration(c.Wait[i])
		if c.LatestStart[i] != nil {
			g.LatestStart = after(g.Ended, *c.LatestStart[i])
		}
		if len(c.Pauses) > 0 {
			g.Pauses, g.RestartCost = c.Pauses[i], duration(c.RestartCost[i])
		}
		before := g.Released
		for range c.Steps[i] {
			s := Step{Start: after(before, c.Begin[step]), Watts: c.Watts[step], FailedWatts: c.FailedWatts[step]}
			s.End = after(s.Start, c.Seconds[step])
			g.Steps, before = append(g.Steps, s), s.End
			step++
		}
		last = g.Ended
		e := &entry{group: g.clean(), isCounted: c.IsCounted[i], isComputed: true}
		e.account = c.account(i, e.group)
		entries[i] = e
	}
	return entries
}

// account returns the account of a group.
func (c *columns) account(i int, g Group) Account {
	a := g.account(nil, nil) // the energy
	value := func(grams *float32, isBefore bool) (float64, bool) {
		if grams == nil || !isBefore {
			return 0, false
		}
		return signedWithin(float64(*grams), maxAmount), true
	}
	a.Grams, a.IsKnown = value(c.Grams[i], true)
	a.OtherGrams, a.IsCompared = value(c.OtherGrams[i], a.IsKnown)
	if a.OracleGrams, a.HasOracle = value(c.OracleGrams[i], a.IsCompared); a.HasOracle {
		a.OracleGrams = min(a.OracleGrams, a.Grams, a.OtherGrams)
	}
	a.FailedGrams, _ = value(&c.FailedGrams[i], a.IsKnown)
	return a
}

// encodeGroups returns the columns of entries.
func encodeGroups(entries []*entry, origin time.Time) *columns {
	c := &columns{}
	for _, e := range entries {
		c.add(e, origin)
		origin = e.group.Ended
	}
	return c
}

// known returns a pointer to a value, or nil if the value is not known.
func known[T any](value T, isKnown bool) *T {
	if !isKnown {
		return nil
	}
	return &value
}

// since returns the seconds from an instant to another. Instants of groups have whole milliseconds,
// so that after finds the same instant again.
func since(t, origin time.Time) float64 { return float64(t.Sub(origin).Milliseconds()) / 1000 }

// after returns the instant some seconds after another.
func after(origin time.Time, seconds float64) time.Time {
	return bounded(origin.Add(duration(seconds)))
}

// duration returns seconds as a duration of whole milliseconds, and at most the years of all
// instants.
func duration(seconds float64) time.Duration {
	const most = 201 * 366 * 24 * 3600
	return time.Duration(math.Round(signedWithin(seconds, most)*1000)) * time.Millisecond
}
