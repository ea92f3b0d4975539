package region

import (
	"slices"
	"strings"
)

// Actuals returns who tells without a key how the intensity was in a zone of a provider, by the type in a
// CarbonPolicy, and its own name of the zone. Both are empty if nobody does. A country does not stand for
// a part of it.
func Actuals(provider, zone string) (of, name string) {
	area := Area(provider, zone)
	country, _, isPart := strings.Cut(area, "-")
	switch {
	case area == "GB":
		return "UKCarbonIntensity", "GB"
	case area == "DK-DK1", area == "DK-DK2":
		return "Energinet", area
	case !isPart && !strings.Contains(zone, "-") && slices.Contains(energyChartsCountries(), country):
		return "EnergyCharts", country
	}
	return "", ""
}

// SameZone returns the name that one provider has for the zone of another, or for the area in which the
// zone is. It returns the name of the zone itself if the area is not known.
func SameZone(of, provider, zone string) string {
	area := Area(provider, zone)
	switch {
	case area == "":
		return zone
	case of == "EnergyCharts" && area == "GB":
		return "UK"
	case of == "EnergyCharts":
		country, _, _ := strings.Cut(area, "-")
		return country
	default:
		return area
	}
}
