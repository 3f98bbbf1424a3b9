<?php
add_action('after_setup_theme', function () {
	add_theme_support('title-tag');
	add_theme_support('post-thumbnails');
	add_theme_support('html5', ['comment-form', 'comment-list', 'gallery', 'caption', 'style', 'script']);
});
add_action('wp_enqueue_scripts', fn() => wp_enqueue_style('shore', get_stylesheet_uri(), [], wp_get_theme()->get('Version')));
