package region

import (
	"encoding/csv"
	"math"
	"strconv"
	"strings"
	"testing"
)

// TestPointsAreOnEarthAndFew reads the table as the exporter does.
func TestPointsAreOnEarthAndFew(t *testing.T) {
	t.Parallel()
	rows, err := csv.NewReader(strings.NewReader(pointTable)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i, row := range rows[1:] {
		latitude, errNorth := strconv.ParseFloat(row[1], 64)
		longitude, errEast := strconv.ParseFloat(row[2], 64)
		if errNorth != nil || errEast != nil || math.Abs(latitude) > 90 || math.Abs(longitude) > 180 || row[3] == "" {
			t.Errorf("line %d: %q", i+2, row)
		}
		if count[row[0]]++; count[row[0]] > 12 {
			t.Errorf("line %d: more than 12 points of %s", i+2, row[0])
		}
	}
}

// TestPointsAreNearTheirRegions finds points that have lost a sign: a point of an area is no further from
// a cloud's region in the area than the areas are wide.
func TestPointsAreNearTheirRegions(t *testing.T) {
	t.Parallel()
	regions, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regions {
		for _, pair := range strings.Split(WeatherPoints("ElectricityMaps", r.Zones["ElectricityMaps"]), ";") {
			north, east, ok := strings.Cut(pair, ",")
			if !ok {
				continue
			}
			latitude, _ := strconv.ParseFloat(north, 64)
			longitude, _ := strconv.ParseFloat(east, 64)
			if math.Abs(latitude-r.Latitude) > 16 || math.Abs(longitude-r.Longitude) > 36 {
				t.Errorf("%s in %s: the point %s is far from %v,%v", r.Name, r.Zones["ElectricityMaps"], pair, r.Latitude, r.Longitude)
			}
		}
	}
}

func TestEveryZoneOfTheTableOfRegionsHasPoints(t *testing.T) {
	t.Parallel()
	regions, err := All()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regions {
		for provider, zone := range r.Zones {
			if WeatherPoints(provider, zone) == "" {
				t.Errorf("%s: zone %s of %s has no points", r.Name, zone, provider)
			}
		}
	}
}

func TestZonesAreInTheirAreas(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ provider, zone, want string }{
		{"EnergyCharts", "de", "DE"}, {"EnergyCharts", "UK", "GB"}, {"UKCarbonIntensity", "RG10", "GB"}, {"WattTime", "PJM_CHICAGO", "US-MIDA-PJM"},
		{"WattTime", "SCE", ""}, {"ElectricityMaps", "SE-SE4", "SE"}, {"GridCarbon", "US-CAL-CISO", "US-CAL-CISO"}, {"GridCarbon", "US", ""},
		{"HTTP", "nonsense", ""}, {"HTTP", "", ""}, {"HTTP", "area", ""}, {"HTTP", "D", ""},
	} {
		if got := areaOf(tt.provider, tt.zone); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.provider, tt.zone, got, tt.want)
		}
	}
}
