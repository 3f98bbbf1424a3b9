<!doctype html>
<html <?php language_attributes(); ?>>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<?php wp_head(); ?>
</head>
<body <?php body_class(); ?>>
<?php wp_body_open(); ?>
<h1><a href="<?php echo esc_url(home_url('/')); ?>"><?php bloginfo('name'); ?></a></h1>
<?php while (have_posts()) : the_post(); ?>
<article>
<h2><a href="<?php the_permalink(); ?>"><?php the_title(); ?></a></h2>
<?php
	the_post_thumbnail('large');
	the_content();
	if (is_singular()) {
		comments_template();
	}
?>
</article>
<?php endwhile; ?>
<nav><?php posts_nav_link(); ?></nav>
<footer>Made on the shore.</footer>
<?php wp_footer(); ?>
</body>
</html>
