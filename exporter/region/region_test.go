package region

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// countryBoxes has the south, west, north and east of each country, roughly.
var countryBoxes = map[string][4]float64{
	"AE": {22, 51, 27, 57}, "AT": {46, 9, 49, 18}, "AU": {-44, 112, -10, 154}, "BE": {49, 2, 52, 7}, "BH": {25, 50, 27, 51},
	"BR": {-34, -74, 6, -34}, "CA": {41, -141, 84, -52}, "CH": {45, 5, 48, 11}, "CL": {-56, -76, -17, -66}, "CN": {18, 73, 54, 135},
	"DE": {47, 5, 56, 16}, "ES": {36, -10, 44, 4}, "FI": {59, 20, 71, 32}, "FR": {41, -6, 52, 10}, "GB": {49, -9, 61, 2},
	"HK": {22, 113, 23, 115}, "ID": {-11, 95, 6, 141}, "IE": {51, -11, 56, -5}, "IL": {29, 34, 34, 36}, "IN": {6, 68, 36, 98},
	"IT": {36, 6, 48, 19}, "JP": {24, 122, 46, 146}, "KR": {33, 125, 39, 130}, "MX": {14, -119, 33, -86}, "MY": {0, 99, 8, 120},
	"NL": {50, 3, 54, 8}, "NO": {57, 4, 72, 32}, "NZ": {-48, 166, -34, 179}, "PL": {49, 14, 55, 25}, "QA": {24, 50, 27, 52},
	"SA": {16, 34, 33, 56}, "SE": {55, 10, 70, 25}, "SG": {1, 103, 2, 105}, "TH": {5, 97, 21, 106}, "TW": {21, 119, 26, 123},
	"US": {24, -125, 50, -66}, "ZA": {-35, 16, -22, 33},
}

func TestTheTableOfRegions(t *testing.T) {
	regions, err := All()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range regions {
		name := r.Cloud + "/" + r.Name
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		box, ok := countryBoxes[r.Country]
		if !ok || r.Latitude < box[0] || r.Latitude > box[2] || r.Longitude < box[1] || r.Longitude > box[3] {
			t.Errorf("%s: %v, %v is not in %q", name, r.Latitude, r.Longitude, r.Country)
		}
		if zone := r.Zones["ElectricityMaps"]; zone != "" && !strings.HasPrefix(zone, r.Country) {
			t.Errorf("%s: zone %q is not in %q", name, zone, r.Country)
		}
	}
	for cloud, atLeast := range map[string]int{"aws": 34, "gcp": 42, "azure": 50} {
		n := 0
		for name := range seen {
			if strings.HasPrefix(name, cloud+"/") {
				n++
			}
		}
		if n < atLeast {
			t.Errorf("%s has %d regions, want %d", cloud, n, atLeast)
		}
	}
}

func TestRegionsThatPublicTablesHaveWrong(t *testing.T) {
	regions, err := All()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range regions {
		got[r.Cloud+"/"+r.Name] = r.Zones["ElectricityMaps"]
	}
	for name, want := range map[string]string{
		"azure/northcentralus": "US-MIDA-PJM", "azure/northeurope": "IE", "azure/westus": "US-CAL-CISO", "gcp/me-central1": "QA",
		"aws/eu-north-1": "SE-SE3", "aws/ca-west-1": "CA-AB", "aws/sa-east-1": "BR-CS", "gcp/southamerica-east1": "BR-CS", "gcp/us-south1": "US-TEX-ERCO",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

func TestARegionIsFoundByItsName(t *testing.T) {
	for name, want := range map[string]string{"eu-central-1": "aws DE", "us-east1": "gcp US", "northeurope": "azure IE"} {
		r, ok := Find(name)
		if got := r.Cloud + " " + r.Country; !ok || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "us-east", "my-datacentre", "Frankfurt"} {
		if r, ok := Find(name); ok {
			t.Errorf("%q: got %+v, want none", name, r)
		}
	}
}

func TestTheRegionsInAZone(t *testing.T) {
	for name, test := range map[string]struct {
		provider, zone string
		want           []string
	}{
		"regions of several clouds":        {"UKCarbonIntensity", "GB", []string{"aws/eu-west-2", "azure/uksouth", "azure/ukwest", "gcp/europe-west2"}},
		"a zone without regions":           {"EnergyCharts", "RO", nil},
		"a zone of another provider":       {"EnergyCharts", "US-CAL-CISO", nil},
		"an unknown provider":              {"Oracle", "DE", nil},
		"no zone is no zone, not any zone": {"UKCarbonIntensity", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range InZone(test.provider, test.zone) {
				got = append(got, r.Cloud+"/"+r.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
