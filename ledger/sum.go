package ledger

import "github.com/gridlatch/gridlatch/ledger/energy"

// Key is what groups are summed by.
type Key struct {
	Namespace string        `json:"namespace"`
	Policy    string        `json:"policy"`
	Location  string        `json:"location"`
	Owner     string        `json:"owner"`
	Energy    energy.Source `json:"energy"`
	Mode      Mode          `json:"mode"`
}

// Sum is what many groups of one key came to. Energies are in joules, emissions in gCO2eq, times in
// seconds.
type Sum struct {
	Key
	Groups, FailedGroups, HeldGroups int     // HeldGroups waited, or would have waited, for more than a second
	UnseenEnds                       int     // groups of which nobody saw the end
	WaitSeconds                      float64 // how long all groups waited
	Joules, FailedJoules             float64
	// KnownJoules is the energy at known intensities: Grams are the emissions of this energy.
	KnownJoules, Grams, FailedGrams float64
	// ComparedJoules is the energy of the groups that could be compared. ComparedGrams and OtherGrams are
	// of these groups. AvoidedGrams sums the savings of the groups that saved, AddedGrams the losses of
	// those that lost; both are positive.
	ComparedJoules, ComparedGrams, OtherGrams, AvoidedGrams, AddedGrams float64
	// Of the groups for which the oracle is known: the energy, what they saved, and what the oracle would have saved.
	OracleJoules, OracleComparedSavedGrams, OracleSavedGrams float64
	EmbodiedGrams, Units, CoreHours                          float64
}

// Add adds a group and its account.
func (s *Sum) Add(g Group, a Account) { panic("core") }

// Merge adds another sum. The key stays.
func (s *Sum) Merge(other Sum) { panic("core") }

// OracleShare returns which share of the savings of perfect foresight was had, in percent at most 100; ok is false if there
// was nothing to save.
func (s Sum) OracleShare() (share float64, ok bool) { panic("core") }

// SCI returns the software carbon intensity of ISO/IEC 21031, ((E x I) + M) per R, in gCO2eq per
// functional unit; ok is false without units or known intensities. Where the intensity of some energy is not known,
// the mean of the rest stands for it.
func (s Sum) SCI() (grams float64, ok bool) { panic("core") }

// MeanIntensity returns the mean intensity weighted by energy, in gCO2eq/kWh.
func (s Sum) MeanIntensity() (float64, bool) { panic("core") }
