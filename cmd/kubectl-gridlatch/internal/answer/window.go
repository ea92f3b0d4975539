package answer

import (
	"math"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// The names of windows.
const (
	AtCreation  = "at creation"
	AtOnce      = "at once"
	Planned     = "planned"
	Alternative = "alternative"
	LatestStart = "latest start"
)

// Window is a time at which work could run.
type Window struct {
	Name  string    `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Intensity is the mean in gCO2eq/kWh, nil if unknown.
	Intensity *float64 `json:"intensity"`
	// PowerFactor is the power factor of the work, zero if it is 1.
	PowerFactor float64 `json:"powerFactor,omitempty"`
	// Saved is what this window saves against the first of the windows, nil if unknown.
	Saved *float64 `json:"savedPercent,omitempty"`
}

// NewWindow returns the window of a run; its intensity is NaN if unknown.
func NewWindow(name string, start time.Time, duration time.Duration, intensity, powerFactor float64) Window {
	return Window{Name: name, Start: start, End: start.Add(duration), Intensity: Known(intensity), PowerFactor: UnlessOne(powerFactor)}
}

// Expect returns the window of a run as a series of intensities has it.
func Expect(name string, series *forecast.Series, start time.Time, duration time.Duration, powerFactor float64) Window {
	intensity, ok := plan.WindowMean(series, start, duration)
	if !ok {
		intensity = math.NaN()
	}
	return NewWindow(name, start, duration, intensity, powerFactor)
}

// Compare works out what each window saves against the first.
func Compare(windows []Window) {
	first := windows[0].emitted()
	for i := range windows[1:] {
		w := &windows[i+1]
		if then := w.emitted(); first != nil && then != nil && *first > 0 {
			saved := 100 * (*first - *then) / *first
			w.Saved = &saved
		}
	}
}

// emitted returns the emissions of a run in gCO2eq for each kWh that the work takes where its power
// factor is 1, nil if unknown.
func (w Window) emitted() *float64 {
	if w.Intensity == nil || w.PowerFactor == 0 {
		return w.Intensity
	}
	emitted := *w.Intensity * w.PowerFactor
	return &emitted
}

// Known returns a value, nil if the value is not known: JSON has no number for that.
func Known(value float64) *float64 {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil
	}
	return &value
}

// UnlessOne returns zero for a power factor of 1, which is not worth telling.
func UnlessOne(powerFactor float64) float64 {
	if powerFactor == 1 {
		return 0
	}
	return powerFactor
}
