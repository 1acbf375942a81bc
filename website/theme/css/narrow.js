// On a narrow screen the list of pages begins closed; without scripts it is open.
if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
