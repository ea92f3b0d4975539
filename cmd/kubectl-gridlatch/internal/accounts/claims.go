package accounts

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// staleAfter is how old the ledger may be until the report says so.
	staleAfter = time.Hour
	// maxSignals is how many locations the claims name.
	maxSignals = 10
)

// claims says in plain words what the figures of a report can and cannot claim.
func claims(r Report, q Question, l *Ledger, all sums) []string {
	said := append(append([]string{}, staleness(l, q.Now)...), l.others()...)
	for _, section := range r.Sections {
		said = append(said, comparison(section)...)
	}
	said = append(append(said, restClaims(r)...), censusClaims(r)...)
	if len(r.Sections) == 0 {
		return said
	}
	said = append(said, signalClaims(r.Signals)...)
	for _, section := range r.Sections {
		said = append(said, energyClaims(section)...)
		said = append(said, gaps(section)...)
	}
	if open := l.open(q); open > 0 {
		said = append(said, fmt.Sprintf("%s can still change: the figures of a group follow revisions of the actual intensities until %s after its end.",
			count(open, "group"), plan.FormatDuration(ledger.SettledAfter)))
	}
	said = append(append(said, months(q, all)...),
		"Only actual intensities count, as the provider publishes them afterwards. A forecast is never booked as what was.")
	return once(said)
}

// others says that some pages do not tell all owners or namespaces apart.
func (l *Ledger) others() []string {
	if !l.hasOthers {
		return nil
	}
	return []string{"Some pages of the ledger were full. What they could not tell apart counts as the owner or the namespace " + ledger.Others + ", and is missing where only one namespace counts."}
}

// once leaves out what is said a second time.
func once(said []string) []string {
	heard := map[string]bool{}
	return slices.DeleteFunc(said, func(sentence string) bool {
		wasHeard := heard[sentence]
		heard[sentence] = true
		return wasHeard
	})
}

// staleness warns of a ledger that nobody has written for long.
func staleness(l *Ledger, now time.Time) []string {
	age := now.Sub(l.Written)
	if l.Written.IsZero() || age <= staleAfter {
		return nil
	}
	return []string{fmt.Sprintf("The ledger was last written %s ago, at %s. Either no work has ended since, or no leader writes it: see kubectl gridlatch status.",
		plan.FormatDuration(age.Round(time.Minute)), plan.FormatTime(l.Written))}
}

// comparison says what the figures of a section compare.
func comparison(s Section) []string {
	f := s.Total
	if s.Mode == ledger.Audit {
		return []string{
			"Audited work was not held. Its figures say what holding the work would have saved, had the work started as planned. They are in no total of other work.",
		}
	}
	said := []string{
		"Avoided and added compare each group with the same run at the same power, started when the work came. Avoided sums the groups that emitted less, added those that emitted more. Net is avoided less added.",
		"Perfect foresight is the best start within the time that the work could wait, known only afterwards. Nobody can reach this figure.",
	}
	if f.SavedGrams < 0 {
		said = append(said, "Waiting has cost more than it has saved: the net is a loss.")
	}
	if f.FailedGrams > 0 || f.FailedGroups > 0 {
		said = append(said, fmt.Sprintf("Failed attempts and failed work emitted %s without work. These emissions are part of what was emitted.", Grams(f.FailedGrams)))
	}
	return said
}

// signalClaims says what kind of intensities the figures are made of.
func signalClaims(signals []Signal) []string {
	byOrigin, order := map[string][]string{}, []string(nil)
	kinds, isMadeUp := map[forecast.Kind]bool{}, false
	for i, s := range signals {
		isMadeUp = isMadeUp || s.Origin.IsMadeUp
		kinds[s.Origin.Signal.Kind] = true
		if i >= maxSignals {
			continue
		}
		origin := s.Origin.String()
		if s.Origin.Signal == (forecast.Signal{}) {
			origin = strings.TrimSuffix(origin+": ", ": ")
			if origin != "" {
				origin += ": "
			}
			origin += "the provider does not say whether they are average or marginal"
		}
		if byOrigin[origin] == nil {
			order = append(order, origin)
		}
		byOrigin[origin] = append(byOrigin[origin], locationName(s.Location))
	}
	var said []string
	for _, origin := range order {
		said = append(said, fmt.Sprintf("Intensities of %s: %s.", strings.Join(byOrigin[origin], ", "), origin))
	}
	if more := len(signals) - maxSignals; more > 0 {
		said = append(said, fmt.Sprintf("The report has %d more locations: -o json names the origin of each.", more))
	}
	if isMadeUp {
		said = append(said, "Some values are made up: their figures say nothing about a real grid.")
	}
	return append(said, kindClaims(kinds)...)
}

func kindClaims(kinds map[forecast.Kind]bool) []string {
	var said []string
	if kinds[forecast.Average] {
		said = append(said, "An average intensity gives each consumer an equal share of what the grid emits. A saving by this signal is a smaller share. It does not prove that power plants emitted less.")
	}
	if kinds[forecast.Marginal] {
		said = append(said, "A marginal intensity estimates what one more kilowatt-hour makes power plants emit. It comes from a model, and nobody can measure it.")
	}
	if len(kinds) > 1 {
		said = append(said, "Intensities of different signals are not comparable. Read the figures of each location on their own: --by location.")
	}
	return said
}

func locationName(name string) string {
	if name == "" {
		return "the only location"
	}
	return name
}

// energyClaims says how the energy is known.
func energyClaims(s Section) []string {
	var parts, said []string
	how := map[energy.Source]string{
		energy.Measured: "measured", energy.Modelled: "modelled from requests and run times", energy.Stated: "stated by the work itself",
	}
	for _, from := range s.Total.EnergyFrom {
		if from.Source != energy.Unknown {
			parts = append(parts, fmt.Sprintf("%s %% is %s", percent(from.Percent), how[from.Source]))
		}
		switch from.Source {
		case energy.Modelled:
			low, high := modelRange()
			said = append(said, fmt.Sprintf("Modelled energy can be from %.1f to %.1f times what is said here, and so can the grams. Percentages hardly have this error: within a group, the same power is on both sides.", low, high))
		case energy.Unknown:
			said = append(said, fmt.Sprintf("Nobody knows the energy of %s: neither a meter, nor requests, nor gridlatch.dev/power-watts. Such a group counts as a group, with no energy and no emissions.", count(from.Groups, "group")))
		}
	}
	if len(parts) == 0 {
		return said
	}
	return append([]string{fmt.Sprintf("Of the energy of %s, %s. All grams are made of this energy.", sectionName(s.Mode), joinWords(parts))}, said...)
}

func joinWords(parts []string) string { return join(parts, "and") }

// sectionName names the work of a mode.
func sectionName(mode ledger.Mode) string {
	if mode == ledger.Audit {
		return "audited work"
	}
	return "work by Gridlatch's decisions"
}

// gaps says what is missing in the figures of a section.
func gaps(s Section) []string {
	f := s.Total
	var said []string
	if f.UnknownIntensityKWh > 0 {
		said = append(said, fmt.Sprintf("Nobody knows the intensity of the grid for %s %% of the energy of %s. This part counts as energy, and is in no figure in grams.",
			percent(100*f.UnknownIntensityKWh/f.EnergyKWh), sectionName(s.Mode)))
	}
	if without := f.EnergyKWh - f.UnknownIntensityKWh - f.ComparedKWh; without > f.EnergyKWh/1000 {
		said = append(said, fmt.Sprintf("%s %% of the energy of %s could not be compared: the intensity at the other start is not known. This energy is in no saving and no loss.",
			percent(100*without/f.EnergyKWh), sectionName(s.Mode)))
	}
	if f.UnseenEnds > 0 {
		said = append(said, fmt.Sprintf("Nobody saw the end of %s. Such a group is booked until it was last seen, and may have taken more.", count(f.UnseenEnds, "group")))
	}
	return said
}

// months says that what is old can only be had by whole months.
func months(q Question, all sums) []string {
	for _, sum := range all {
		if !isMonth(sum.page) {
			continue
		}
		from, to, _ := spanOf(sum.page)
		if from.Before(q.Since) || to.After(q.Until) {
			return []string{fmt.Sprintf("The ledger keeps old figures by month: %s counts as a whole.", sum.page)}
		}
	}
	return nil
}

func percent(v float64) string {
	if v > 0 && v < 1 {
		return "less than 1"
	}
	return fmt.Sprintf("%.0f", v)
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Grams returns emissions in the unit that suits them, such as "1.2 kg".
func Grams(grams float64) string {
	unit := GramUnit(grams)
	return Number(grams/unit.Size) + " " + unit.Name
}

// Unit is a unit in which figures are shown.
type Unit struct {
	Name string
	Size float64
}

// GramUnit returns the unit that suits emissions.
func GramUnit(grams float64) Unit {
	return unitOf(grams, []Unit{{"t", 1e6}, {"kg", 1e3}, {"g", 1}})
}

// EnergyUnit returns the unit that suits an energy in kilowatt-hours.
func EnergyUnit(kWh float64) Unit {
	return unitOf(kWh, []Unit{{"GWh", 1e6}, {"MWh", 1e3}, {"kWh", 1}, {"Wh", 1e-3}})
}

// unitOf returns the largest unit that is not larger than a value, or the smallest unit.
func unitOf(value float64, units []Unit) Unit {
	for _, unit := range units {
		if math.Abs(value) >= unit.Size {
			return unit
		}
	}
	return units[len(units)-1]
}

// Number returns a number with about three digits that count.
func Number(v float64) string {
	switch magnitude := math.Abs(v); {
	case v == 0:
		return "0"
	case magnitude >= 1e7:
		return fmt.Sprintf("%.3g", v)
	case magnitude >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case magnitude >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case magnitude >= 0.0095:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.1g", v)
	}
}

// modelRange returns by which factors modelled energy can be wrong: a core that does nothing, and a
// core that does all it can, against the utilisation of the model.
func modelRange() (low, high float64) {
	core, c := energy.Requests{Cores: 1}, energy.Default()
	return c.Low(core) / c.Watts(core), c.High(core) / c.Watts(core)
}
