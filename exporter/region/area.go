package region

import "strings"

// areaOf returns the area of the table of points in which a zone of a provider is; "" if the table has
// none. Areas have the names that Electricity Maps and GridCarbon give their zones. A part of an area
// that the table does not have is in the whole area.
func areaOf(provider, zone string) string {
	zone = strings.ToUpper(zone)
	switch provider {
	case "UKCarbonIntensity":
		return "GB" // regions and postcodes, too
	case "WattTime":
		zone = areaOfWattTime(zone)
	case "EnergyCharts":
		if zone == "UK" {
			return "GB"
		}
	}
	if zone == "DK1" || zone == "DK2" { // the price areas of Denmark, as the operator names them
		zone = "DK-" + zone
	}
	for zone != "" {
		if strings.Contains(pointTable, "\n"+zone+",") {
			return zone
		}
		part := strings.LastIndexByte(zone, '-')
		zone = zone[:max(part, 0)]
	}
	return ""
}

// areaOfWattTime returns the area of a region of WattTime, which has names of its own for North America,
// Australia and Japan, and codes of ISO 3166-1 with three letters for some countries.
func areaOfWattTime(zone string) string {
	for _, known := range wattTimeAreas() {
		if zone == known.prefix || strings.HasPrefix(zone, known.prefix+"_") {
			return known.area
		}
	}
	return zone
}

// wattTimeArea says that the regions of WattTime whose names begin with prefix are in area.
type wattTimeArea struct{ prefix, area string }

// wattTimeAreas returns what WattTime's names for regions mean. A prefix ends at an underscore.
func wattTimeAreas() []wattTimeArea {
	return []wattTimeArea{
		{"CAISO", "US-CAL-CISO"}, {"LDWP", "US-CAL-LDWP"}, {"ERCOT", "US-TEX-ERCO"}, {"PJM", "US-MIDA-PJM"}, {"MISO", "US-MIDW-MISO"},
		{"NYISO", "US-NY-NYIS"}, {"ISONE", "US-NE-ISNE"}, {"SPP", "US-CENT-SWPP"}, {"BPA", "US-NW-BPAT"}, {"NEVP", "US-NW-NEVP"},
		{"PACE", "US-NW-PACE"}, {"PACW", "US-NW-PACW"}, {"WACM", "US-NW-WACM"}, {"AZPS", "US-SW-AZPS"}, {"GCPD", "US-NW-GCPD"},
		{"SC", "US-CAR-SC"}, {"HQ", "CA-QC"}, {"NEM_NSW", "AU-NSW"}, {"NEM_VIC", "AU-VIC"}, {"JP_KN", "JP-KN"}, {"JP_TK", "JP-TK"},
		{"MX", "MX"}, {"UK", "GB"}, {"ARE", "AE"}, {"BHR", "BH"}, {"BRA", "BR-CS"}, {"CHL", "CL-SEN"}, {"CHN", "CN"}, {"HKG", "HK"},
		{"IDN", "ID"}, {"IND", "IN"}, {"ISR", "IL"}, {"KOR", "KR"}, {"NZL", "NZ"}, {"QAT", "QA"}, {"SAU", "SA"}, {"SGP", "SG"},
		{"TWN", "TW"}, {"ZAF", "ZA"},
	}
}
