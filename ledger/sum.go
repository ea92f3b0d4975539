package ledger

import (
	"cmp"
	"time"

	"github.com/gridlatch/gridlatch/ledger/energy"
)

// Key is what groups are summed by.
type Key struct {
	Namespace string        `json:"namespace"`
	Policy    string        `json:"policy"`
	Location  string        `json:"location"`
	Owner     string        `json:"owner"`
	Energy    energy.Source `json:"energy"`
	Mode      Mode          `json:"mode"`
}

// compare orders keys by their fields, from the first to the last.
func (k Key) compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Policy, other.Policy), cmp.Compare(k.Location, other.Location),
		cmp.Compare(k.Owner, other.Owner), cmp.Compare(k.Energy, other.Energy), cmp.Compare(k.Mode, other.Mode))
}

// withoutNames returns the key of everything that has the same source of energy and the same mode.
func (k Key) withoutNames() Key {
	return Key{Namespace: Others, Policy: Others, Location: Others, Owner: Others, Energy: k.Energy, Mode: k.Mode}
}

// Sum is what many groups of one key came to. Energies are in joules, emissions in gCO2eq, times in
// seconds.
type Sum struct {
	Key
	Groups       int `json:"groups,omitempty"`
	FailedGroups int `json:"failedGroups,omitempty"`
	// HeldGroups counts the groups that waited, or would have waited, for more than a second.
	HeldGroups int `json:"heldGroups,omitempty"`
	// UnseenEnds counts the groups of which nobody saw the end.
	UnseenEnds int `json:"unseenEnds,omitempty"`
	// WaitSeconds is how long all groups waited.
	WaitSeconds  float64 `json:"waitSeconds,omitempty"`
	Joules       float64 `json:"joules,omitempty"`
	FailedJoules float64 `json:"failedJoules,omitempty"`
	// KnownJoules is the energy at known intensities: Grams are the emissions of this energy.
	KnownJoules float64 `json:"knownJoules,omitempty"`
	Grams       float64 `json:"grams,omitempty"`
	FailedGrams float64 `json:"failedGrams,omitempty"`
	// ComparedJoules is the energy of the groups that could be compared. ComparedGrams and
	// OtherGrams are of these groups. AvoidedGrams sums the savings of the groups that saved,
	// AddedGrams the losses of those that lost; both are positive.
	ComparedJoules float64 `json:"comparedJoules,omitempty"`
	ComparedGrams  float64 `json:"comparedGrams,omitempty"`
	OtherGrams     float64 `json:"otherGrams,omitempty"`
	AvoidedGrams   float64 `json:"avoidedGrams,omitempty"`
	AddedGrams     float64 `json:"addedGrams,omitempty"`
	// Of the groups for which the oracle is known: the energy, what they saved, and what the oracle
	// would have saved.
	OracleJoules             float64 `json:"oracleJoules,omitempty"`
	OracleComparedSavedGrams float64 `json:"oracleComparedSavedGrams,omitempty"`
	OracleSavedGrams         float64 `json:"oracleSavedGrams,omitempty"`
	EmbodiedGrams            float64 `json:"embodiedGrams,omitempty"`
	Units                    float64 `json:"units,omitempty"`
	CoreHours                float64 `json:"coreHours,omitempty"`
}

// counts returns the counts of the sum.
func (s *Sum) counts() []*int {
	return []*int{&s.Groups, &s.FailedGroups, &s.HeldGroups, &s.UnseenEnds}
}

// amounts returns the numbers of the sum that are never negative.
func (s *Sum) amounts() []*float64 {
	return []*float64{&s.WaitSeconds, &s.Joules, &s.FailedJoules, &s.KnownJoules, &s.ComparedJoules, &s.AvoidedGrams, &s.AddedGrams,
		&s.OracleJoules, &s.OracleSavedGrams, &s.EmbodiedGrams, &s.Units, &s.CoreHours}
}

// signedAmounts returns the numbers that may be negative, as marginal intensities may be.
func (s *Sum) signedAmounts() []*float64 {
	return []*float64{&s.Grams, &s.FailedGrams, &s.ComparedGrams, &s.OtherGrams, &s.OracleComparedSavedGrams}
}

// keyOf returns the key of a group.
func keyOf(g Group) Key {
	return Key{Namespace: g.Namespace, Policy: g.Policy, Location: g.Location, Owner: g.Owner, Energy: g.Energy, Mode: g.Mode}
}

// Add adds a group and its account.
func (s *Sum) Add(g Group, a Account) {
	one := func(is bool) int {
		if is {
			return 1
		}
		return 0
	}
	added := Sum{Groups: 1, FailedGroups: one(g.Failed), HeldGroups: one(g.Wait > time.Second), UnseenEnds: one(!g.SeenEnd),
		WaitSeconds: g.Wait.Seconds(), Joules: a.Joules, FailedJoules: a.FailedJoules,
		EmbodiedGrams: g.EmbodiedGrams, Units: g.Units, CoreHours: g.CoreHours}
	if a.IsKnown {
		added.KnownJoules, added.Grams, added.FailedGrams = a.Joules, a.Grams, a.FailedGrams
	}
	if a.IsCompared {
		saved := g.SavedGrams(a)
		added.ComparedJoules, added.ComparedGrams, added.OtherGrams = a.Joules, a.Grams, a.OtherGrams
		added.AvoidedGrams, added.AddedGrams = max(0, saved), max(0, -saved)
	}
	if a.HasOracle {
		added.OracleJoules, added.OracleComparedSavedGrams, added.OracleSavedGrams = a.Joules, g.SavedGrams(a), g.OracleSavedGrams(a)
	}
	s.Merge(added.clean())
}

// Merge adds another sum. The key stays. What would become too large stays at a bound, as it does
// when a page is decoded.
func (s *Sum) Merge(other Sum) {
	counts := s.counts()
	for i, n := range other.counts() {
		*counts[i] = min(*counts[i]+*n, maxCount)
	}
	amounts, signed := s.amounts(), s.signedAmounts()
	for i, x := range other.amounts() {
		*amounts[i] = within(*amounts[i]+*x, maxAmount)
	}
	for i, x := range other.signedAmounts() {
		*signed[i] = signedWithin(*signed[i]+*x, maxAmount)
	}
}

// SavedGrams returns what the groups that could be compared saved, in gCO2eq: negative if they lost
// more than they saved.
func (s Sum) SavedGrams() float64 { return s.AvoidedGrams - s.AddedGrams }

// OracleShare returns which share of the savings of perfect foresight was had, in percent at most
// 100; ok is false if there was nothing to save.
func (s Sum) OracleShare() (share float64, ok bool) {
	// What is below a billionth of the emissions is a rounding error, and nothing to save.
	if !(s.OracleSavedGrams > 0) || s.OracleSavedGrams <= 1e-9*max(s.Grams, -s.Grams) {
		return 0, false
	}
	return min(100, 100*s.OracleComparedSavedGrams/s.OracleSavedGrams), true
}

// SCI returns the software carbon intensity of ISO/IEC 21031, ((E x I) + M) per R, in gCO2eq per
// functional unit; ok is false without units or known intensities. Where the intensity of some
// energy is not known, the mean of the rest stands for it.
func (s Sum) SCI() (grams float64, ok bool) {
	mean, ok := s.MeanIntensity()
	if !ok || !(s.Units > 0) {
		return 0, false
	}
	return (s.Joules/joulesPerKWh*mean + s.EmbodiedGrams) / s.Units, true
}

// MeanIntensity returns the mean intensity weighted by energy, in gCO2eq/kWh; ok is false if no
// intensity is known.
func (s Sum) MeanIntensity() (intensity float64, ok bool) {
	if !(s.KnownJoules > 0) {
		return 0, false
	}
	return s.Grams / (s.KnownJoules / joulesPerKWh), true
}
