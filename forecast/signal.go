package forecast

import (
	"strings"
	"time"
)

// Kind tells whose emissions an intensity counts.
type Kind string

// The kinds of intensity. The zero Kind stands for a kind that nobody states.
const (
	// Average counts the emissions of all electricity of the zone.
	Average Kind = "Average"
	// Marginal counts the emissions of the power plants that answer to one more kilowatt-hour.
	Marginal Kind = "Marginal"
)

// EmissionFactors tells which emissions of a power plant an intensity counts.
type EmissionFactors string

// The emission factors. The zero EmissionFactors stands for factors that nobody states.
const (
	// LifeCycle counts the plant, its fuel and its waste.
	LifeCycle EmissionFactors = "LifeCycle"
	// Direct counts what leaves the chimney.
	Direct EmissionFactors = "Direct"
)

// Signal is what kind of intensity a series is. Intensities of two signals are not comparable: they
// are never compared, joined, or learned from together.
type Signal struct {
	Kind            Kind            `json:"kind,omitempty"`
	EmissionFactors EmissionFactors `json:"emissionFactors,omitempty"`
}

// String returns the signal in words, such as "average, life-cycle"; "" if nobody states the signal.
func (s Signal) String() string {
	words := map[string]string{"LifeCycle": "life-cycle"}
	var parts []string
	for _, part := range []string{string(s.Kind), string(s.EmissionFactors)} {
		if word, ok := words[part]; ok {
			part = word
		}
		if part != "" {
			parts = append(parts, strings.ToLower(part))
		}
	}
	return strings.Join(parts, ", ")
}

// Origin tells where the series of a location come from. A model learns from one origin only: a
// forecast or an actual intensity of another origin begins a new model.
type Origin struct {
	// Provider names who knows the grid, such as "Energy-Charts". It is empty if the document does
	// not say where its series come from.
	Provider string `json:"provider,omitempty"`
	// Zone is the provider's own name of the zone.
	Zone   string `json:"zone,omitempty"`
	Signal Signal `json:"signal,omitzero"`
	// IsMadeUp says that no grid is behind the values.
	IsMadeUp bool `json:"isMadeUp,omitempty"`
	// Past names who tells how the intensity was, if the provider knows nothing of the past.
	Past string `json:"past,omitempty"`
}

// ProviderName names the provider for people, and says if the values are made up; "" if nobody states
// the provider.
func (o Origin) ProviderName() string {
	switch {
	case !o.IsMadeUp:
		return o.Provider
	case o.Provider == "":
		return "made up"
	default:
		return o.Provider + " (made up)"
	}
}

// String names the zone, the provider and the signal for people, such as "zone DE of Energy-Charts,
// average"; "" if nobody states any of them.
func (o Origin) String() string {
	var parts []string
	switch name := o.ProviderName(); {
	case o.Zone != "" && name != "":
		parts = append(parts, "zone "+o.Zone+" of "+name)
	case o.Zone != "":
		parts = append(parts, "zone "+o.Zone)
	case name != "":
		parts = append(parts, name)
	}
	if signal := o.Signal.String(); signal != "" {
		parts = append(parts, signal)
	}
	if o.Past != "" {
		parts = append(parts, "the past of "+o.Past)
	}
	return strings.Join(parts, ", ")
}

// Details is what a document says of the series of one location.
type Details struct {
	Origin Origin `json:"origin"`
	// Issued is when the provider made the forecast of the location; zero if there is no forecast.
	Issued time.Time `json:"issued,omitzero"`
	// Attribution is the sentence that the licence of the data demands.
	Attribution string `json:"attribution,omitempty"`
	// Second says who else tells how the intensity was; nil if nobody is asked.
	Second *SecondSource `json:"second,omitempty"`
	// LacksForecast says that there is no forecast for this zone or for the customer's plan, so that
	// the actual intensities are all there is.
	LacksForecast bool `json:"lacksForecast,omitempty"`
	// Problem says why the newest values could not be had, or which of them are left out; "" if all
	// is well.
	Problem string `json:"problem,omitempty"`
}
