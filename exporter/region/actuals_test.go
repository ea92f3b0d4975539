package region

import "testing"

func TestWhoTellsWithoutAKeyHowTheIntensityWas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ provider, zone, of, name string }{
		{"ElectricityMaps", "DE", "EnergyCharts", "DE"}, {"HTTP", "fr", "EnergyCharts", "FR"}, {"ElectricityMaps", "CZ", "EnergyCharts", "CZ"},
		{"ElectricityMaps", "GB", "UKCarbonIntensity", "GB"}, {"EnergyCharts", "UK", "UKCarbonIntensity", "GB"},
		{"ElectricityMaps", "DK-DK1", "Energinet", "DK-DK1"}, {"ElectricityMaps", "SE-SE3", "", ""}, {"ElectricityMaps", "SE-SE4", "", ""},
		{"ElectricityMaps", "US-CAL-CISO", "", ""}, {"WattTime", "CAISO_NORTH", "", ""}, {"HTTP", "my-zone", "", ""}, {"HTTP", "", "", ""},
	} {
		if of, name := Actuals(tt.provider, tt.zone); of != tt.of || name != tt.name {
			t.Errorf("%s %q: %s %q, want %s %q", tt.provider, tt.zone, of, name, tt.of, tt.name)
		}
	}
}

func TestAZoneHasAnotherNameElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ of, provider, zone, want string }{
		{"EnergyCharts", "ElectricityMaps", "GB", "UK"}, {"EnergyCharts", "ElectricityMaps", "SE-SE3", "SE"}, {"EnergyCharts", "HTTP", "my-zone", "my-zone"},
		{"UKCarbonIntensity", "EnergyCharts", "UK", "GB"}, {"GridCarbon", "ElectricityMaps", "US-CAL-CISO", "US-CAL-CISO"}, {"GridCarbon", "WattTime", "CAISO_NORTH", "US-CAL-CISO"},
		{"Energinet", "ElectricityMaps", "DK-DK2", "DK-DK2"},
	} {
		if got := SameZone(tt.of, tt.provider, tt.zone); got != tt.want {
			t.Errorf("%s, %s %q: got %q, want %q", tt.of, tt.provider, tt.zone, got, tt.want)
		}
	}
}
