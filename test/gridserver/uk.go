package gridserver

import (
	"net/http"
	"time"
)

const (
	ukPath = "/uk"
	// ukZone is the whole of Great Britain. The server knows no region.
	ukZone = "GB"
)

// UKCarbonIntensity returns the base URL at which the server answers as the Carbon Intensity API of
// Great Britain.
func (s *Server) UKCarbonIntensity() string { return s.URL + ukPath }

// ukCarbonIntensity answers about the time from an instant to another, or about the next 48 hours. The
// API writes instants to the minute, so that the boundaries of a behaviour have no use here.
func (s *Server) ukCarbonIntensity(w http.ResponseWriter, r *http.Request) {
	const width = 30 * time.Minute
	from, errFrom := time.Parse(minuteLayout, r.PathValue("from"))
	to, errTo := time.Parse(minuteLayout, r.PathValue("to"))
	if r.PathValue("to") == "fw48h" {
		to, errTo = from.Add(48*time.Hour), nil
	}
	if errFrom != nil || errTo != nil || to.Sub(from) > 14*day {
		refuse(w, http.StatusBadRequest, "want two instants up to 14 days apart")
		return
	}
	type intensity struct {
		Forecast *float64 `json:"forecast"`
		Actual   *float64 `json:"actual"`
	}
	type element struct {
		From      string    `json:"from"`
		To        string    `json:"to"`
		Intensity intensity `json:"intensity"`
	}
	data := []element{}
	for _, at := range instants(Behaviour{}, from, to, width) {
		value := s.current().at(ukZone, at)
		e := element{at.Format(minuteLayout), at.Add(width).Format(minuteLayout), intensity{Forecast: value}}
		if at.Before(s.now()) {
			e.Intensity.Actual = value
		}
		data = append(data, e)
	}
	answer(w, r, map[string]any{"data": data})
}
