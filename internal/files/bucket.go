package files

import (
	"maps"
	"strings"

	"github.com/springtide/springtide"
)

// Bucket is where in S3 the files of a folder are, and who may reach them.
type Bucket struct {
	springtide.Bucket
	Credentials
}

// BucketSecrets names the secrets that hold the keys of a bucket of the user's
// own.
func BucketSecrets(name springtide.FilesName) (access, secret springtide.SecretName) {
	suffix := "_" + springtide.SecretName(variableOf(name))
	return "S3_ACCESS_KEY_ID" + suffix, "S3_SECRET_ACCESS_KEY" + suffix
}

// variableOf spells the name of a folder as the name of a variable has it.
func variableOf(name springtide.FilesName) string {
	return strings.ReplaceAll(strings.ToUpper(string(name)), "-", "_")
}

// variables are those that tell of a bucket.
func (b Bucket) variables() map[string]string {
	return map[string]string{
		"S3_ENDPOINT": b.Endpoint, "S3_REGION": b.Region, "S3_BUCKET": b.Name, "S3_PREFIX": b.Prefix,
		"S3_ACCESS_KEY_ID": b.AccessKey, "S3_SECRET_ACCESS_KEY": b.SecretKey,
	}
}

// Variables tells an instance of the shared folders: FILES_NAME is the path, as
// the manifest spells it where folders are mounted and as the host does where
// not. S3_ENDPOINT_NAME, S3_BUCKET_NAME and so on tell of the folder as S3; what
// is the same for all folders is there as S3_ENDPOINT and so on too, and by the
// names that Amazon's own libraries read.
func (s *Store) Variables(id springtide.EnvironmentID, wanted map[springtide.FilesName]springtide.Files, mounted bool, buckets map[springtide.FilesName]Bucket) map[string]string {
	variables, common := map[string]string{}, map[string]string(nil)
	for name, spec := range wanted {
		key := variableOf(name)
		switch {
		case spec.Bucket != "":
		case mounted:
			variables["FILES_"+key] = spec.Path
		default:
			variables["FILES_"+key] = s.tree(FolderID{id, name})
		}
		told := map[string]string{}
		if bucket, has := buckets[name]; has {
			told = bucket.variables()
		}
		for variable, value := range told {
			variables[variable+"_"+key] = value
		}
		if common == nil {
			common = told
		}
		maps.DeleteFunc(common, func(variable, value string) bool { return told[variable] != value })
	}
	maps.Copy(variables, common)
	for theirs, ours := range map[string]string{
		"AWS_ENDPOINT_URL_S3": "S3_ENDPOINT", "AWS_REGION": "S3_REGION",
		"AWS_ACCESS_KEY_ID": "S3_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY": "S3_SECRET_ACCESS_KEY",
	} {
		if value, has := common[ours]; has {
			variables[theirs] = value
		}
	}
	return variables
}
