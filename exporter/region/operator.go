package region

import (
	"slices"
	"strings"
)

// Area returns the area in which a zone of a provider is, by the name that Electricity Maps gives it;
// "" if neither the table of points nor an operator knows the area. See [Operator].
func Area(provider, zone string) string {
	if area := areaOf(provider, zone); area != "" {
		return area
	}
	zone = strings.ToUpper(zone)
	for zone != "" && Operator(zone) == "" {
		zone = zone[:max(strings.LastIndexByte(zone, '-'), 0)]
	}
	return zone
}

// Operator returns who knows what the operator of an area expects of wind and sun, by the type in a
// CarbonPolicy; "" if nobody does. Part of an area stands for the whole of it: SE-SE3 for Sweden.
func Operator(area string) string {
	area = strings.ToUpper(area)
	country, _, _ := strings.Cut(area, "-")
	switch {
	case area == "DK-DK1", area == "DK-DK2":
		return "Energinet"
	case area == "GB":
		return "Elexon"
	case slices.Contains(energyChartsCountries(), country):
		return "EnergyCharts"
	}
	return ""
}

// energyChartsCountries has the countries of which Energy-Charts has power. Source: the notes of a client
// that asked the server in September 2026. A country without a forecast gives none, and costs a request.
func energyChartsCountries() []string {
	return strings.Fields(`AT BA BE BG CH CY CZ DE DK EE ES FI FR GE GR HR HU IE IT LT LU LV MD ME MK NL NO PL PT RO RS SE SI SK UA XK`)
}
