<?php
// Plugin Name: Platform
// Description: Uploads are in the shared folder, mail goes where the platform says.

// The variable is right also where the folder cannot be mounted below the release.
add_filter('pre_option_upload_path', fn() => getenv('FILES_UPLOADS'));
add_filter('pre_option_upload_url_path', fn() => content_url('uploads'));

add_action('phpmailer_init', function ($mailer) {
	$server = parse_url(getenv('SMTP_URL') ?: '');
	if (empty($server['host'])) {
		return;
	}
	$mailer->isSMTP();
	$mailer->Host = $server['host'];
	$mailer->Port = $server['port'] ?? 25;
	$mailer->SMTPSecure = $server['scheme'] === 'smtps' ? 'ssl' : '';
	$mailer->SMTPAuth = isset($server['user']);
	$mailer->Username = rawurldecode($server['user'] ?? '');
	$mailer->Password = rawurldecode($server['pass'] ?? '');
});
