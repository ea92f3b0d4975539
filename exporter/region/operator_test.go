package region

import "testing"

func TestTheOperatorsOfAreas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ provider, zone, area, operator string }{
		{"ElectricityMaps", "DE", "DE", "EnergyCharts"}, {"EnergyCharts", "fr", "FR", "EnergyCharts"}, {"ElectricityMaps", "SE-SE3", "SE-SE3", "EnergyCharts"},
		{"ElectricityMaps", "SE-SE4", "SE", "EnergyCharts"}, {"ElectricityMaps", "DK-DK1", "DK-DK1", "Energinet"}, {"Energinet", "dk2", "DK-DK2", "Energinet"},
		{"HTTP", "DK1", "DK-DK1", "Energinet"}, {"EnergyCharts", "DK", "DK", "EnergyCharts"}, {"UKCarbonIntensity", "13", "GB", "Elexon"},
		{"EnergyCharts", "UK", "GB", "Elexon"}, {"WattTime", "UK", "GB", "Elexon"}, {"GridCarbon", "CZ", "CZ", "EnergyCharts"},
		{"ElectricityMaps", "RO-1", "RO-1", "EnergyCharts"}, {"ElectricityMaps", "US-CAL-CISO", "US-CAL-CISO", ""}, {"WattTime", "SC", "US-CAR-SC", ""},
		{"HTTP", "nonsense", "", ""}, {"HTTP", "", "", ""}, {"HTTP", "-", "", ""}, {"HTTP", "D", "", ""}, {"HTTP", "\x00é-", "", ""},
	} {
		if area := Area(tt.provider, tt.zone); area != tt.area || Operator(area) != tt.operator {
			t.Errorf("%s %q: area %q, operator %q, want %q, %q", tt.provider, tt.zone, area, Operator(area), tt.area, tt.operator)
		}
	}
}
