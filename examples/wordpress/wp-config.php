<?php
// What differs between environments comes from the platform.
$database = parse_url(getenv('DATABASE_URL'));
define('DB_HOST', $database['host'] . ':' . $database['port']);
define('DB_NAME', ltrim($database['path'], '/'));
define('DB_USER', rawurldecode($database['user']));
define('DB_PASSWORD', rawurldecode($database['pass']));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

// Keys and salts are made of one secret. With another one everybody is logged out.
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $name) {
	define($name . '_KEY', hash_hmac('sha256', $name . '_KEY', getenv('SALT')));
	define($name . '_SALT', hash_hmac('sha256', $name . '_SALT', getenv('SALT')));
}

// The edge passes on requests for the names of this environment only, so the name
// that was asked for can be trusted.
define('WP_HOME', 'https://' . ($_SERVER['HTTP_HOST'] ?? getenv('SITE_HOST')));
define('WP_SITEURL', WP_HOME);

// Instances own nothing: themes, plugins and WordPress itself come with a release.
define('DISALLOW_FILE_MODS', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_DEFAULT_THEME', 'shore');
// Translations are Debian's, of the package wordpress-l10n.
define('WP_LANG_DIR', '/var/lib/wordpress/wp-content/languages');
// Nobody is asked whether there is an update. Let in what your plugins need by
// WP_ACCESSIBLE_HOSTS.
define('WP_HTTP_BLOCK_EXTERNAL', true);
// A schedule runs wp-cron.php, rather than requests of visitors.
define('DISABLE_WP_CRON', true);

require_once ABSPATH . 'wp-settings.php';
