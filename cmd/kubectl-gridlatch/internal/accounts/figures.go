package accounts

import (
	"math"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

const (
	joulesPerKWh   = 3.6e6
	secondsPerHour = 3600
)

// Figures are what some work came to. Emissions are in gCO2eq.
type Figures struct {
	Groups        int     `json:"groups"`
	FailedGroups  int     `json:"failedGroups"`
	HeldGroups    int     `json:"heldGroups"`
	UnseenEnds    int     `json:"unseenEnds"`
	MeanWaitHours float64 `json:"meanWaitHours"`

	EnergyKWh       float64       `json:"energyKWh"`
	FailedEnergyKWh float64       `json:"failedEnergyKWh"`
	EnergyFrom      []EnergyShare `json:"energyFrom"`
	// UnknownIntensityKWh is the energy at intensities that nobody knows. It has no emissions here.
	UnknownIntensityKWh float64 `json:"unknownIntensityKWh"`
	// MeanIntensity is weighted by energy, in gCO2eq/kWh.
	MeanIntensity *float64 `json:"meanIntensity,omitempty"`
	EmittedGrams  float64  `json:"emittedGrams"`
	// FailedGrams are the part of EmittedGrams that failed attempts and failed work emitted.
	FailedGrams float64 `json:"failedGrams"`

	// ComparedKWh is the energy of the work that could be compared with another start.
	ComparedKWh  float64 `json:"comparedKWh"`
	AvoidedGrams float64 `json:"avoidedGrams"`
	AddedGrams   float64 `json:"addedGrams"`
	// SavedGrams are AvoidedGrams less AddedGrams. SavedPercent is the share of what would have
	// been emitted without waiting.
	SavedGrams   float64  `json:"savedGrams"`
	SavedPercent *float64 `json:"savedPercent,omitempty"`

	// OracleSavedGrams are what perfect foresight would have saved, for the work of which that is
	// known: OracleKWh. The work of the same energy saved OracleComparedGrams.
	OracleKWh           float64  `json:"oracleKWh"`
	OracleSavedGrams    float64  `json:"oracleSavedGrams"`
	OracleComparedGrams float64  `json:"oracleComparedSavedGrams"`
	OracleSharePercent  *float64 `json:"oracleSharePercent,omitempty"`
	// UnheldOracleSavedGrams are the part of OracleSavedGrams of the groups that started at once.
	UnheldOracleSavedGrams float64 `json:"unheldOracleSavedGrams"`

	Units         float64 `json:"units"`
	EmbodiedGrams float64 `json:"embodiedGrams"`
	// SCI is in gCO2eq per functional unit.
	SCI       *float64 `json:"sci,omitempty"`
	CoreHours float64  `json:"coreHours"`
	// HeldCoreHours are the part of CoreHours of the groups that waited, or would have waited.
	HeldCoreHours float64 `json:"heldCoreHours"`
}

// AtOnceCoreHours returns the core-hours of the groups that started at once.
func (f Figures) AtOnceCoreHours() float64 { return max(0, f.CoreHours-f.HeldCoreHours) }

// AtOncePercent returns the share of the core-hours of the groups that started at once; nil if there are
// no core-hours.
func (f Figures) AtOncePercent() *float64 {
	return known(100*f.AtOnceCoreHours()/f.CoreHours, f.CoreHours > 0)
}

// EnergyShare says how much of the energy is known from a source.
type EnergyShare struct {
	Source  energy.Source `json:"source"`
	Groups  int           `json:"groups"`
	KWh     float64       `json:"kWh"`
	Percent float64       `json:"percent"`
}

// share is what is known from one source of energy.
type share struct {
	groups int
	joules float64
}

// tally sums up.
type tally struct {
	mode   ledger.Mode
	values []string
	sum    ledger.Sum
	energy map[energy.Source]share
}

func (t *tally) add(s ledger.Sum) {
	t.sum.Merge(s)
	of := t.energy[s.Energy]
	t.energy[s.Energy] = share{of.groups + s.Groups, of.joules + s.Joules}
}

func (t *tally) figures() Figures {
	s := t.sum
	f := Figures{
		Groups: s.Groups, FailedGroups: s.FailedGroups, HeldGroups: s.HeldGroups, UnseenEnds: s.UnseenEnds,
		EnergyKWh: kWh(s.Joules), FailedEnergyKWh: kWh(s.FailedJoules), UnknownIntensityKWh: kWh(max(s.Joules-s.KnownJoules, 0)),
		EmittedGrams: finite(s.Grams), FailedGrams: finite(s.FailedGrams),
		ComparedKWh: kWh(s.ComparedJoules), AvoidedGrams: finite(s.AvoidedGrams), AddedGrams: finite(s.AddedGrams),
		SavedGrams: finite(s.AvoidedGrams - s.AddedGrams),
		OracleKWh:  kWh(s.OracleJoules), OracleSavedGrams: finite(s.OracleSavedGrams), OracleComparedGrams: finite(s.OracleComparedSavedGrams),
		Units: finite(s.Units), EmbodiedGrams: finite(s.EmbodiedGrams), CoreHours: finite(s.CoreHours),
		UnheldOracleSavedGrams: finite(s.UnheldOracleSavedGrams), HeldCoreHours: finite(s.HeldCoreHours),
		MeanIntensity: known(s.MeanIntensity()), OracleSharePercent: known(s.OracleShare()), SCI: known(s.SCI()),
		EnergyFrom: t.energyFrom(),
	}
	if s.Groups > 0 {
		f.MeanWaitHours = finite(s.WaitSeconds / secondsPerHour / float64(s.Groups))
	}
	withoutWaiting := s.OtherGrams
	if t.mode == ledger.Audit { // the work did not wait
		withoutWaiting = s.ComparedGrams
	}
	f.SavedPercent = known(100*(s.AvoidedGrams-s.AddedGrams)/withoutWaiting, withoutWaiting > 0)
	return f
}

// energyFrom returns the shares of all sources of energy, the best one first.
func (t *tally) energyFrom() []EnergyShare {
	var all []EnergyShare
	for _, source := range []energy.Source{energy.Measured, energy.Modelled, energy.Stated, energy.Unknown} {
		of, ok := t.energy[source]
		if !ok {
			continue
		}
		percent := known(100*of.joules/t.sum.Joules, t.sum.Joules > 0)
		if percent == nil {
			percent = new(float64)
		}
		all = append(all, EnergyShare{Source: source, Groups: of.groups, KWh: kWh(of.joules), Percent: *percent})
	}
	return all
}

// finite returns a number that JSON can have.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return max(min(v, math.MaxFloat64), -math.MaxFloat64)
}

func kWh(joules float64) float64 { return finite(joules / joulesPerKWh) }

// known returns a number if it is known.
func known(v float64, ok bool) *float64 {
	if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
