<?php
// Run once for each release, before it gets requests: the first one installs the
// site, later ones bring its tables to the version of their WordPress.
define('WP_INSTALLING', true);
require __DIR__ . '/site/wp-load.php';

// It would mail the password.
function wp_new_blog_notification() {}

require ABSPATH . 'wp-admin/includes/upgrade.php';
if (is_blog_installed()) {
	wp_upgrade();
	echo "the tables are of version ", get_option('db_version'), "\n";
	return;
}
// Were it not chosen here, WordPress would try out links by asking itself, and it
// does not serve yet.
add_action('populate_options', fn() => add_option('permalink_structure', '/%year%/%postname%/'));
wp_install('Tide line', 'admin', 'admin@example.com', true, '', getenv('ADMIN_PASSWORD'));
echo "the site is installed\n";
