package region

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The names of the regions that the clouds list. Sources: partitions.json of aws-sdk-go-v2 1.48.0
// (without the secret partitions); Google Cloud's page of regions and zones; Microsoft's page of
// Azure regions, az account list-locations, and those of Azure Government and Azure in China.
var listedRegions = map[string]string{
	"aws": `af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2
		ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
		ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3
		il-central-1 me-central-1 me-south-1 me-west-1 mx-central-1 sa-east-1 sa-west-1 us-east-1 us-east-2 us-west-1
		us-west-2 cn-north-1 cn-northwest-1 eusc-de-east-1 us-gov-east-1 us-gov-west-1`,
	"gcp": `africa-south1 asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2
		asia-southeast1 asia-southeast2 asia-southeast3 australia-southeast1 australia-southeast2 europe-central2
		europe-north1 europe-north2 europe-southwest1 europe-west1 europe-west2 europe-west3 europe-west4 europe-west6
		europe-west8 europe-west9 europe-west10 europe-west12 me-central1 me-central2 me-west1 northamerica-northeast1
		northamerica-northeast2 northamerica-south1 southamerica-east1 southamerica-west1 us-central1 us-east1 us-east4
		us-east5 us-south1 us-west1 us-west2 us-west3 us-west4`,
	"azure": `australiacentral australiacentral2 australiaeast australiasoutheast austriaeast belgiumcentral brazilsouth
		brazilsoutheast canadacentral canadaeast centralindia centralus chilecentral denmarkeast eastasia eastus eastus2
		francecentral francesouth germanynorth germanywestcentral indiasouthcentral indonesiacentral israelcentral
		italynorth japaneast japanwest jioindiacentral jioindiawest koreacentral koreasouth malaysiawest mexicocentral
		newzealandnorth northcentralus northeurope norwayeast norwaywest polandcentral qatarcentral saudiarabiaeast
		southafricanorth southafricawest southcentralus southeastasia southindia spaincentral swedencentral
		switzerlandnorth switzerlandwest uaecentral uaenorth uksouth ukwest westcentralus westeurope westindia westus
		westus2 westus3 usgovarizona usgovtexas usgovvirginia usdodcentral usdodeast chinaeast chinaeast2 chinaeast3
		chinanorth chinanorth2 chinanorth3`,
}

// countryBoxes has the south, west, north and east of each country, roughly.
var countryBoxes = map[string][4]float64{
	"AE": {22, 51, 27, 57}, "AT": {46, 9, 49, 18}, "AU": {-44, 112, -10, 154}, "BE": {49, 2, 52, 7}, "BH": {25, 50, 27, 51},
	"BR": {-34, -74, 6, -34}, "CA": {41, -141, 84, -52}, "CH": {45, 5, 48, 11}, "CL": {-56, -76, -17, -66}, "CN": {18, 73, 54, 135},
	"DE": {47, 5, 56, 16}, "DK": {54, 8, 58, 16}, "ES": {36, -10, 44, 4}, "FI": {59, 20, 71, 32}, "FR": {41, -6, 52, 10},
	"GB": {49, -9, 61, 2}, "HK": {22, 113, 23, 115}, "ID": {-11, 95, 6, 141}, "IE": {51, -11, 56, -5}, "IL": {29, 34, 34, 36},
	"IN": {6, 68, 36, 98}, "IT": {36, 6, 48, 19}, "JP": {24, 122, 46, 146}, "KR": {33, 125, 39, 130}, "MX": {14, -119, 33, -86},
	"MY": {0, 99, 8, 120}, "NL": {50, 3, 54, 8}, "NO": {57, 4, 72, 32}, "NZ": {-48, 166, -34, 179}, "PL": {49, 14, 55, 25},
	"QA": {24, 50, 27, 52}, "SA": {16, 34, 33, 56}, "SE": {55, 10, 70, 25}, "SG": {1, 103, 2, 105}, "TH": {5, 97, 21, 106},
	"TW": {21, 119, 26, 123}, "US": {24, -125, 50, -66}, "ZA": {-35, 16, -22, 33},
}

// The zones that the providers have, of those that regions are in. Sources: the zones of
// electricitymaps-contrib b354f28; WattTime's regions in real-time-cloud b2858aa, as far as nobody
// contradicts them; the countries of Energy-Charts.
var knownZones = map[string]string{
	"ElectricityMaps": `AE AT AU-NSW AU-VIC BE BH BR-CS CA-AB CA-ON CA-QC CH CL-SEN CN DE DK-DK2 ES FI FR GB HK ID IE IL IN-NO
		IN-SO IN-WE IT-NO JP-KN JP-TK KR MX MY-WM NL NO-NO1 NO-NO2 NZ PL QA SA SE-SE3 SG TH TW US-CAL-CISO US-CAL-LDWP
		US-CAR-SC US-MIDA-PJM US-MIDW-MISO US-NW-BPAT US-NW-GCPD US-NW-NEVP US-NW-PACE US-NW-PACW US-NW-WACM US-SW-AZPS
		US-TEX-ERCO ZA`,
	"WattTime": `ARE AT AZPS BE BHR BPA BRA CAISO_NORTH CH CHL CHN DE DK ERCOT_NORTHCENTRAL ERCOT_SANANTONIO ES FI FR HKG HQ
		IDN IE IND ISR IT JP_KN JP_TK KOR LDWP MX_SIN NEM_NSW NEM_VIC NEVP NL NZL PACE PJM_CHICAGO PJM_DC PJM_SOUTHWEST_OH
		PL QAT SAU SC SE SGP TWN UK WACM ZAF`,
	"UKCarbonIntensity": "GB",
	"Energinet":         "DK2",
	"EnergyCharts":      "AT BE CH DE DK ES FI FR IE IT NL NO PL SE",
}

func TestEveryRegionThatAnyCloudListsIsThereOnce(t *testing.T) {
	var want, got []string
	for cloud, names := range listedRegions {
		for _, name := range strings.Fields(names) {
			want = append(want, cloud+"/"+name)
		}
	}
	for _, r := range all(t) {
		got = append(got, r.Cloud+"/"+r.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoTwoCloudsHaveARegionOfTheSameName(t *testing.T) {
	cloudOf := map[string]string{}
	for _, r := range all(t) {
		if other, ok := cloudOf[r.Name]; ok {
			t.Errorf("%s is a region of %s and of %s", r.Name, other, r.Cloud)
		}
		cloudOf[r.Name] = r.Cloud
	}
}

func TestARegionIsInItsCountry(t *testing.T) {
	for _, r := range all(t) {
		box, ok := countryBoxes[r.Country]
		if !ok || r.Latitude < box[0] || r.Latitude > box[2] || r.Longitude < box[1] || r.Longitude > box[3] {
			t.Errorf("%s: %v, %v is not in %q", r.Name, r.Latitude, r.Longitude, r.Country)
		}
		if r.Place == "" {
			t.Errorf("%s: want a place", r.Name)
		}
	}
}

func TestTheSamePlaceHasTheSameCoordinates(t *testing.T) {
	type place struct {
		latitude, longitude float64
		country             string
	}
	places := map[string]place{}
	for _, r := range all(t) {
		is := place{r.Latitude, r.Longitude, r.Country}
		if was, ok := places[r.Place]; ok && was != is {
			t.Errorf("%s: %s is at %v, elsewhere at %v", r.Name, r.Place, is, was)
		}
		places[r.Place] = is
	}
}

func TestZonesAreThoseOfTheProviders(t *testing.T) {
	for _, r := range all(t) {
		for provider, zone := range r.Zones {
			if !slices.Contains(strings.Fields(knownZones[provider]), zone) {
				t.Errorf("%s: %s has no zone %q", r.Name, provider, zone)
			}
		}
	}
}

func TestAZoneIsInOneCountry(t *testing.T) {
	countryOf := map[string]string{}
	for _, r := range all(t) {
		for provider, zone := range r.Zones {
			name := provider + " " + zone
			if other, ok := countryOf[name]; ok && other != r.Country {
				t.Errorf("%s: the zone %s is in %s, and elsewhere in %s", r.Name, name, r.Country, other)
			}
			countryOf[name] = r.Country
		}
		if zone := r.Zones["ElectricityMaps"]; zone != "" && !strings.HasPrefix(zone, r.Country) {
			t.Errorf("%s: the zone %q of Electricity Maps is not in %s", r.Name, zone, r.Country)
		}
		if zone, ok := r.Zones["EnergyCharts"]; ok && zone != r.Country {
			t.Errorf("%s: the zone %q of Energy-Charts is not %s", r.Name, zone, r.Country)
		}
		if _, ok := r.Zones["UKCarbonIntensity"]; ok != (r.Country == "GB") {
			t.Errorf("%s in %s: has UKCarbonIntensity: %v", r.Name, r.Country, ok)
		}
	}
}

// TestTheSamePlaceIsInTheSameZones finds a zone that one row of a place has and another has not.
func TestTheSamePlaceIsInTheSameZones(t *testing.T) {
	zonesOf := map[string]map[string]string{}
	for _, r := range all(t) {
		if zones, ok := zonesOf[r.Place]; ok {
			if diff := cmp.Diff(zones, r.Zones); diff != "" {
				t.Errorf("%s: %s", r.Name, diff)
			}
		}
		zonesOf[r.Place] = r.Zones
	}
}

func TestRegionsThatPublicTablesHaveWrong(t *testing.T) {
	for name, want := range map[string]string{
		"northcentralus": "US-MIDA-PJM", "northeurope": "IE", "westus": "US-CAL-CISO", "me-central1": "QA", "us-central1": "US-MIDW-MISO",
		"eu-north-1": "SE-SE3", "swedencentral": "SE-SE3", "ca-west-1": "CA-AB", "sa-east-1": "BR-CS", "southamerica-east1": "BR-CS",
		"us-south1": "US-TEX-ERCO", "us-east5": "US-MIDA-PJM", "us-west4": "US-NW-NEVP",
	} {
		if r, ok := Find(name); !ok || r.Zones["ElectricityMaps"] != want {
			t.Errorf("%s: %q, want %q", name, r.Zones["ElectricityMaps"], want)
		}
	}
}

func all(t *testing.T) []Region {
	t.Helper()
	regions, err := All()
	if err != nil {
		t.Fatal(err)
	}
	return regions
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
		"a zone of two names":              {"Energinet", "DK-DK2", []string{"azure/denmarkeast"}},
		"the other one of the two names":   {"Energinet", "DK2", []string{"azure/denmarkeast"}},
		"a prefix is no zone":              {"Energinet", "DK-", nil},
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

func TestARegionHasNodesOfItsCloudOnly(t *testing.T) {
	const (
		ofAWS     = "aws:///eu-west-1a/i-0123456789abcdef0"
		ofFargate = "aws:///eu-west-1a/0123456789-abcdef/fargate-ip-10-0-0-1.eu-west-1.compute.internal"
		ofGCP     = "gce://project/europe-west2-a/node"
		ofAzure   = "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/node"
	)
	others := []string{
		"eu-west-1.i-d7o0123456789abcdefg", "osc:///eu-west-2a/i-01234567", "aws:///eu-west-2a/i-01234567", "aws://",
		"eks-hybrid:///eu-west-1/cluster/node", "openstack:///0123", "kind://docker/kind/node",
	}
	all := append([]string{ofAWS, ofFargate, ofGCP, ofAzure}, others...)
	for name, ours := range map[string][]string{"eu-west-1": {ofAWS, ofFargate}, "europe-west2": {ofGCP}, "uksouth": {ofAzure}} {
		r, _ := Find(name)
		if !r.CanHave("") {
			t.Errorf("%s: the owner of the cluster is not believed", name)
		}
		for _, id := range all {
			if got := r.CanHave(id); got != slices.Contains(ours, id) {
				t.Errorf("%s has a node with %q: %t", name, id, got)
			}
		}
	}
}
